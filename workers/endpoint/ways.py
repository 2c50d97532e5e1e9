"""The ways in which servers tell how likely each label is: what each is sent, and how its answer is read.

In: a text and the question about it. Out: a log-probability for each label, in the order of the job's labels, and what
the call took. Knows nothing of connections.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.tasks.classification import Label, PromptFrame
from workers.endpoint.served import Way
from workers.engines.requests import LABELS_A_REQUEST

# Only these many letters has /v1/systemone for its options, in vLLM and wherever else it is known.
SYSTEMONE_LABELS = 26
# vLLM's and OpenAI's own bound on `top_logprobs`, and Ollama's.
TOP_TOKENS = 20
# Of all labels together: a little over 1 for rounding; what is more are no probabilities.
MOST_MASS = 1.05
PATHS: Mapping[Way, str] = {
    "systemone": "/v1/systemone",
    "prompt_ids": "/v1/completions",
    "token_ids": "/v1/chat/completions",
    "top_logprobs": "/v1/chat/completions",
    "ollama": "/api/chat",
}
_QUESTION = "label"
# A probability of nothing has no logarithm; what a server rounds to nothing is less than this.
_LEAST = 1e-30


class NoAnswerError(Exception):
    """The server's answer says nothing of the labels; the message names no word of it."""


class NoProbabilitiesError(NoAnswerError):
    """There are no log-probabilities in it."""


class NoCodeError(NoAnswerError):
    """None of the labels' codes is among the tokens that it tells of."""


@dataclass(frozen=True)
class AskedOverHttp:
    """What is asked about every document."""

    labels: tuple[Label, ...]
    instructions: str
    prompt: PromptFrame


@dataclass(frozen=True)
class LabelAnswer:
    """``logprobs``: of a label that is not among the likeliest, the most that it can be.

    ``mass``: how likely any label is at all, at the least; None where the server tells only how they share it.
    """

    logprobs: tuple[float, ...]
    mass: float | None
    told_tokens: int | None = None  # of the likeliest


@dataclass(frozen=True)
class Usage:
    """What a call took, and who answered; what the server does not tell is None."""

    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    model: str | None = None
    fingerprint: str | None = None


def in_requests(token_ids: Sequence[int]) -> list[tuple[int, ...]]:
    """The codes by request: vLLM's bound holds over HTTP too; one request where none are asked for by id."""
    return [
        tuple(token_ids[first : first + LABELS_A_REQUEST])
        for first in range(0, max(len(token_ids), 1), LABELS_A_REQUEST)
    ]


@dataclass(frozen=True)
class TokenPrompt:
    """How a server is asked by token ids: those around a document, and how many the model reads in all."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    context_tokens: int | None


def tokens_body(name: str, text: str) -> dict[str, Any]:
    """For /tokenize: the token ids of a text alone."""
    return {"model": name, "prompt": text, "add_special_tokens": False}


def read_tokens(content: Mapping[str, Any]) -> list[int]:
    """The token ids.

    Raises:
        NoAnswerError: there are none.
    """
    tokens = content.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise NoAnswerError("/tokenize gives no token ids")
    return tokens


def completion_body(name: str, prompt: Sequence[int], token_ids: Sequence[int]) -> dict[str, Any]:
    """For /v1/completions: one token after a prompt of token ids."""
    return {
        "model": name,
        "prompt": list(prompt),
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 1,
        "logprob_token_ids": list(token_ids),
        "return_tokens_as_token_ids": True,
    }


def writing_body(name: str, prompt: Sequence[int], schema: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """For /v1/completions: an answer that obeys a JSON Schema, after a prompt of token ids."""
    return {
        "model": name,
        "prompt": list(prompt),
        "max_tokens": max_tokens,
        "temperature": 0,
        "repetition_penalty": 1.0,  # else what the model's own files ask for; an engine of ours asks for none
        "structured_outputs": {"json": dict(schema)},
    }


def request_body(
    way: Way, name: str, asked: AskedOverHttp, text: str, *, token_ids: Sequence[int] = (), thinking_off: bool = False
) -> dict[str, Any]:
    """One token wanted, at temperature 0, without thinking."""
    if way == "systemone":
        criteria = {label.name: label.description for label in asked.labels}
        question = {"type": "choice", "instructions": asked.instructions, "criteria": criteria}
        return {"model": name, "state": text, "questions": {_QUESTION: question}}
    message = {"role": "user", "content": asked.prompt.before + text + asked.prompt.after}
    if way == "ollama":
        return {
            "model": name,
            "messages": [message],
            "stream": False,
            "think": False,
            "logprobs": True,
            "top_logprobs": TOP_TOKENS,
            # Without these two it would leave out the beginning of what is too long, and say nothing.
            "truncate": False,
            "shift": False,
            "options": {"temperature": 0, "num_predict": 1},
        }
    body: dict[str, Any] = {
        "model": name,
        "messages": [message],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
    }
    if way == "token_ids":
        body |= {"logprob_token_ids": list(token_ids), "return_tokens_as_token_ids": True}
    else:
        body["top_logprobs"] = TOP_TOKENS
    if thinking_off:
        body["chat_template_kwargs"] = {"enable_thinking": False}
    return body


def read_answer(
    way: Way, content: Mapping[str, Any], asked: AskedOverHttp, token_ids: Sequence[int] = ()
) -> LabelAnswer:
    """The labels' log-probabilities.

    Raises:
        NoAnswerError: there are none, or they are none.
    """
    if way == "prompt_ids":
        return read_by_ids(content, token_ids)
    try:
        if way == "systemone":
            return _read_systemone(content, asked)
        if way == "ollama":
            return _read_ollama(content, asked)
        return _read_chat(content, asked, token_ids if way == "token_ids" else None)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NoProbabilitiesError(f"the answer is not of the shape that {PATHS[way]} gives") from error


def joined(answers: Sequence[LabelAnswer]) -> LabelAnswer:
    """One answer of those to the same prompt, in the codes' order: each is over the whole vocabulary."""
    if len(answers) == 1:
        return answers[0]
    logprobs = tuple(logprob for answer in answers for logprob in answer.logprobs)
    return LabelAnswer(logprobs, _mass(logprobs))


def add_counts(counts: Iterable[int | None]) -> int | None:
    """Their sum; None as soon as one was not told."""
    listed = list(counts)
    return None if None in listed else sum(count for count in listed if count is not None)


def total(usages: Sequence[Usage]) -> Usage:
    """What several calls took; who answered the last of them."""
    if len(usages) == 1:
        return usages[0]
    return Usage(
        add_counts(usage.input_tokens for usage in usages),
        add_counts(usage.cached_tokens for usage in usages),
        add_counts(usage.output_tokens for usage in usages),
        usages[-1].model,
        usages[-1].fingerprint,
    )


def read_usage(way: Way, content: Mapping[str, Any]) -> Usage:
    """What the server counted."""
    told = content.get("usage")
    usage = told if isinstance(told, Mapping) else {}
    model = content.get("model") if isinstance(content.get("model"), str) else None
    if way == "systemone":
        return Usage(_count(usage.get("input_tokens")), None, _count(usage.get("output_tokens")), model)
    if way == "ollama":
        return Usage(_count(content.get("prompt_eval_count")), None, _count(content.get("eval_count")), model)
    details = usage.get("prompt_tokens_details")
    fingerprint = content.get("system_fingerprint")
    return Usage(
        _count(usage.get("prompt_tokens")),
        _count(details.get("cached_tokens")) if isinstance(details, Mapping) else None,
        _count(usage.get("completion_tokens")),
        model,
        fingerprint if isinstance(fingerprint, str) else None,
    )


def read_by_ids(content: Mapping[str, Any], token_ids: Sequence[int]) -> LabelAnswer:
    """The log-probabilities of the codes, from /v1/completions.

    Raises:
        NoAnswerError: there are none, or they are none.
    """
    try:
        told = content["choices"][0]["logprobs"]["top_logprobs"][0]
        return _of_ids(_checked({str(token): float(logprob) for token, logprob in told.items()}), token_ids)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NoProbabilitiesError(f"the answer is not of the shape that {PATHS['prompt_ids']} gives") from error


def read_text(content: Mapping[str, Any]) -> str:
    """What was written, from /v1/completions.

    Raises:
        NoAnswerError: there is no text.
    """
    try:
        text = content["choices"][0]["text"]
    except (KeyError, IndexError, TypeError) as error:
        raise NoAnswerError(f"the answer is not of the shape that {PATHS['prompt_ids']} gives") from error
    if not isinstance(text, str):
        raise NoAnswerError("the answer holds no text")
    return text


def _read_systemone(content: Mapping[str, Any], asked: AskedOverHttp) -> LabelAnswer:
    told = content["answers"][_QUESTION].get("probabilities")
    if not isinstance(told, Mapping):
        raise NoProbabilitiesError("the answer holds no probabilities")
    mass = ((content.get("diagnostics") or {}).get(_QUESTION) or {}).get("label_mass")
    shares = [float(told[label.name]) for label in asked.labels]
    if not all(0 <= share <= 1 for share in shares) or (mass is not None and not 0 <= float(mass) <= 1 + 1e-6):
        raise NoProbabilitiesError("what the answer gives are no probabilities")
    factor = 1.0 if mass is None else float(mass)
    return LabelAnswer(
        logprobs=tuple(math.log(max(share * factor, _LEAST)) for share in shares),
        mass=None if mass is None else min(factor, 1.0),
    )


def _read_chat(content: Mapping[str, Any], asked: AskedOverHttp, token_ids: Sequence[int] | None) -> LabelAnswer:
    positions = (content["choices"][0].get("logprobs") or {}).get("content")
    if not positions:
        raise NoProbabilitiesError("the answer holds no log-probabilities")
    told = _told(positions[0])
    if token_ids is None:
        return _of_likeliest(told, asked)
    return _of_ids(dict(told), token_ids)


def _of_ids(by_token: Mapping[str, float], token_ids: Sequence[int]) -> LabelAnswer:
    names = [f"token_id:{token}" for token in token_ids]
    if not all(name in by_token for name in names):
        raise NoProbabilitiesError("the answer does not tell of the tokens that were asked for")
    logprobs = tuple(by_token[name] for name in names)
    return LabelAnswer(logprobs, _mass(logprobs))


def _read_ollama(content: Mapping[str, Any], asked: AskedOverHttp) -> LabelAnswer:
    positions = content.get("logprobs")
    if not positions:
        raise NoProbabilitiesError("the answer holds no log-probabilities")
    return _of_likeliest(_told(positions[0]), asked)


def _told(position: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The tokens at one place of the answer, each once, with their log-probabilities."""
    listed = {str(each["token"]): float(each["logprob"]) for each in position.get("top_logprobs") or ()}
    if not listed:
        raise NoProbabilitiesError("the answer tells how likely its own token is, and not the others")
    return list(_checked(listed).items())


def _checked(listed: Mapping[str, float]) -> Mapping[str, float]:
    if any(math.isnan(value) or value > 1e-3 for value in listed.values()):
        raise NoProbabilitiesError("what the answer gives are no log-probabilities")
    return listed


def _of_likeliest(told: Sequence[tuple[str, float]], asked: AskedOverHttp) -> LabelAnswer:
    """By the token's text: the same code with white space before it is the same answer."""
    if len(told) < len(asked.labels):  # else the bound below would bound nothing
        raise NoProbabilitiesError(f"the answer tells of {len(told)} tokens, for {len(asked.labels)} labels")
    found: dict[str, list[float]] = {}
    for token, logprob in told:
        found.setdefault(token.strip(), []).append(logprob)
    # No token that is not told of is likelier than the least likely that is.
    bound = min(logprob for _, logprob in told)
    known = [found.get(code) for code in asked.prompt.codes]
    sums = [None if values is None else min(_logadd_counts(values), 0.0) for values in known]
    if not any(value is not None for value in sums):
        raise NoCodeError(f"none of the labels' codes is among the {len(told)} likeliest tokens of the answer")
    return LabelAnswer(
        logprobs=tuple(bound if value is None else value for value in sums),
        mass=_mass(value for value in sums if value is not None),
        told_tokens=len(told),
    )


def _logadd_counts(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def _mass(logprobs: Iterable[float]) -> float:
    return min(math.fsum(math.exp(value) for value in logprobs), 1.0)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
