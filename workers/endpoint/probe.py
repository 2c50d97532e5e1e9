"""What a first tier over HTTP gives of a label's probability: found out before a run begins, on documents of our own.

Servers take a request for probabilities and leave it out of the answer, round them, or answer with something else
than a label. Each of these would pass for answers until somebody looks at the rows; here the job is refused, with what
to do. The order: the server's own decisions, exact log-probabilities of the codes, the likeliest tokens.
"""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from pipelines.costs.accounting import add_known
from pipelines.costs.first_tier import token_cost
from pipelines.errors import EngineError, JobError
from pipelines.job.endpoint import Api, ModelEndpoint, TokenPrice
from pipelines.tasks.classification import DOCUMENT_SLOT, MOST_CODES, Label, PromptFrame, local_prompt
from workers.endpoint.client import FirstTierClient, OutcomeUnknownError, RefusedError, ServerFailedError
from workers.endpoint.served import Served, Way
from workers.endpoint.ways import (
    MOST_MASS,
    PATHS,
    SYSTEMONE_LABELS,
    TOP_TOKENS,
    AskedOverHttp,
    LabelAnswer,
    NoAnswerError,
    NoCodeError,
    TokenPrompt,
    Usage,
    add_counts,
    completion_body,
    in_requests,
    joined,
    read_answer,
    read_tokens,
    read_usage,
    request_body,
    tokens_body,
    total,
)

# Two that could be anything, so that no server is sure of its answer; the first is asked about twice.
_KNOWN = (
    "Hello, I am writing again because of the matter we spoke about last week. Please let me know what you think.",
    "Thank you. See the attachment.",
)
_DECIMALS = 2  # so few mean ties among the surest, where a target is decided
_ENOUGH_DECIMALS = 9
_NOTHING = 1e-25  # `ways` puts a little in the place of a probability of 0
_WAYS: dict[Api | None, tuple[Way, ...]] = {
    "systemone": ("systemone",),
    "openai": ("prompt_ids", "token_ids", "top_logprobs"),
    "ollama": ("ollama",),
    None: ("systemone", "prompt_ids", "token_ids", "top_logprobs", "ollama"),
}
_MOST_LABELS: dict[Way, int] = {
    "systemone": SYSTEMONE_LABELS,
    "prompt_ids": MOST_CODES,
    "token_ids": MOST_CODES,
    "top_logprobs": TOP_TOKENS,
    "ollama": TOP_TOKENS,
}
_LEAST_MASS = 0.01  # of the surest of three answers: a model that is asked for a letter gives one


@dataclass(frozen=True)
class Try:
    """One way, as it is tried; ``asked`` with the codes that it needs."""

    way: Way
    asked: AskedOverHttp
    token_ids: tuple[int, ...] = ()
    thinking_off: bool = False
    prompt: TokenPrompt | None = None


class NotThisWayError(Exception):
    """Why a way does not do."""


def probe(
    asked: ModelEndpoint, labels: Sequence[Label], instructions: str, client: FirstTierClient, today: date
) -> Served:
    """Find out which way gives probabilities, and what the server is.

    Args:
        asked: of the job.
        labels: of the job; their codes are given here.
        instructions: of the job.
        client: to the server.
        today: for the record.

    Raises:
        JobError: no way does, with what was found of each.
        EngineError: the server cannot be reached.
    """
    refuse_unlisted(asked, client)
    found: list[str] = []
    tried: set[str] = set()
    for each in _tries(asked, labels, instructions, client, found):
        try:
            return probed(asked, each, client, today)
        except NotThisWayError as error:
            if (line := f"{PATHS[each.way]}: {error}") not in tried:
                found.append(line)
            tried.add(line)
    raise JobError(
        [
            f"model.endpoint: {asked.endpoint} gives no probabilities of labels to go by ({'; '.join(found)}). Serve "
            "the model with vLLM (`vllm serve`), llama.cpp or Ollama 0.12.11 or later, name another provider that "
            "returns log-probabilities, or give model a source, for an engine of its own"
        ]
    )


def _tries(
    asked: ModelEndpoint, labels: Sequence[Label], instructions: str, client: FirstTierClient, found: list[str]
) -> Iterator[Try]:
    for way in _WAYS[asked.api]:
        if len(labels) > _MOST_LABELS[way]:
            found.append(
                f"{PATHS[way]} ({way}): tells of at most {_MOST_LABELS[way]} labels, the job has {len(labels)}"
            )
            continue
        if way == "systemone":
            yield Try(way, _with_codes(labels, instructions, [""] * len(labels)))
            continue
        takes_ids = way in ("prompt_ids", "token_ids")
        codes, token_ids = codes_of(asked, len(labels), client if takes_ids else None)
        if takes_ids and not token_ids:
            continue  # not a server that takes ids: it has no /tokenize
        if len(codes) < len(labels):
            found.append(
                f"{PATHS[way]} ({way}): its tokenizer has one-token codes for {len(codes)} labels, the job has "
                f"{len(labels)}"
            )
            continue
        with_codes = _with_codes(labels, instructions, codes)
        if way == "prompt_ids":
            prompt = token_prompt(asked, with_codes.prompt, client)
            if prompt:
                yield Try(way, with_codes, token_ids, prompt=prompt)
        elif way == "ollama":
            yield Try(way, with_codes)
        else:  # hosted servers refuse a field that they do not know
            yield Try(way, with_codes, token_ids, thinking_off=True)
            yield Try(way, with_codes, token_ids)


def _with_codes(labels: Sequence[Label], instructions: str, codes: Sequence[str]) -> AskedOverHttp:
    coded = tuple(replace(label, code=code) for label, code in zip(labels, codes, strict=True))
    return AskedOverHttp(coded, instructions, local_prompt(coded, instructions))


def codes_of(asked: ModelEndpoint, count: int, client: FirstTierClient | None) -> tuple[list[str], tuple[int, ...]]:
    """A code for each label, or fewer; with a client, those that are one token of the server's, and which."""
    letters = string.ascii_uppercase
    pairs = map("".join, itertools.product(letters, repeat=2))
    candidates = iter(letters) if count <= len(letters) else pairs
    if client is None:
        return list(itertools.islice(candidates, count)), ()
    found: dict[str, int] = {}
    for code in candidates:
        try:
            tokens = read_tokens(client.post("/tokenize", tokens_body(asked.name, code), is_free=True))
        except (RefusedError, NoAnswerError):
            return [], ()
        if len(tokens) == 1 and tokens[0] not in found.values():
            found[code] = tokens[0]
        if len(found) == count:
            break
    return list(found), tuple(found.values())


def token_prompt(asked: ModelEndpoint, prompt: PromptFrame, client: FirstTierClient) -> TokenPrompt | None:
    """What the server's chat template puts around a document, cut where the document goes, as an engine's own is."""
    message = {"role": "user", "content": prompt.before + DOCUMENT_SLOT + prompt.after}
    whole = {
        "model": asked.name,
        "messages": [message],
        "add_generation_prompt": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    try:
        told = client.post("/tokenize", whole, is_free=True)
        tokens = {"model": asked.name, "tokens": read_tokens(told)}
        rendered = client.post("/detokenize", tokens, is_free=True).get("prompt")
        if not isinstance(rendered, str) or rendered.count(message["content"].strip()) != 1:
            return None
        prefix, suffix = (
            tuple(read_tokens(client.post("/tokenize", tokens_body(asked.name, part), is_free=True)))
            for part in rendered.split(DOCUMENT_SLOT)
        )
    except (RefusedError, NoAnswerError):
        return None
    context = told.get("max_model_len")
    return TokenPrompt(prefix, suffix, context if isinstance(context, int) else None)


def probed(
    asked: ModelEndpoint, each: Try, client: FirstTierClient, today: date, known: tuple[str, str] = _KNOWN
) -> Served:
    """Ask about two texts, the first of them twice, and look at what comes of it.

    Raises:
        NotThisWayError: it is nothing to go by.
        EngineError: the server cannot be reached.
    """
    answers, usages = zip(*(_ask(asked, each, client, text) for text in (known[0], *known)), strict=True)
    for answer in answers:
        if math.fsum(map(math.exp, answer.logprobs)) > MOST_MASS:
            raise NotThisWayError("what it gives are no probabilities: together they are over 1")
    if max(math.fsum(map(math.exp, answer.logprobs)) for answer in answers) < _LEAST_MASS:
        raise NotThisWayError("it hardly ever means a label: is it an instruct model, with thinking off?")
    decimals = _decimals_told(each, answers)
    if decimals <= _DECIMALS:
        raise NotThisWayError(
            f"it rounds probabilities to {decimals} decimals, so that the surest answers cannot be told apart"
        )
    first, second = (list(map(math.exp, answer.logprobs)) for answer in answers[:2])
    server, digest, context_tokens = _server(client, asked, each.way)
    return Served(
        endpoint=asked.endpoint,
        name=asked.name,
        where=asked.where,
        way=each.way,
        server=server,
        model=usages[0].model,
        fingerprint=usages[0].fingerprint or digest,
        probed_on=today,
        codes=each.asked.prompt.codes if each.way != "systemone" else (),
        token_ids=each.token_ids,
        prefix=each.prompt.prefix if each.prompt else (),
        suffix=each.prompt.suffix if each.prompt else (),
        told_tokens=min((answer.told_tokens for answer in answers if answer.told_tokens), default=None),
        tells_mass=all(answer.mass is not None for answer in answers),
        turns_thinking_off=each.thinking_off,
        context_tokens=context_tokens or (each.prompt.context_tokens if each.prompt else None),
        decimals=decimals,
        most_difference=max(abs(one - other) for one, other in zip(first, second, strict=True)),
        calls=len(answers) * len(in_requests(each.token_ids)),
        input_tokens=add_counts(usage.input_tokens for usage in usages),
        output_tokens=add_counts(usage.output_tokens for usage in usages),
        cost_usd=cost_of(asked.price, usages),
    )


def _ask(asked: ModelEndpoint, each: Try, client: FirstTierClient, text: str) -> tuple[LabelAnswer, Usage]:
    with told_of_way(asked):
        tokens: list[int] = []
        if each.prompt:
            tokens = read_tokens(client.post("/tokenize", tokens_body(asked.name, text), is_free=True))
        answers, usages = [], []
        for ids in in_requests(each.token_ids):
            if each.prompt:
                body = completion_body(asked.name, [*each.prompt.prefix, *tokens, *each.prompt.suffix], ids)
            else:
                body = request_body(
                    each.way, asked.name, each.asked, text, token_ids=ids, thinking_off=each.thinking_off
                )
            content = client.post(PATHS[each.way], body)
            answers.append(read_answer(each.way, content, each.asked, ids))
            usages.append(read_usage(each.way, content))
        return joined(answers), total(usages)


@contextmanager
def told_of_way(asked: ModelEndpoint) -> Iterator[None]:
    """Tell what goes wrong with calls of a probe as what is found of the way that is tried.

    Raises:
        NotThisWayError: the server answers, and it is nothing to go by.
        EngineError: nobody knows what became of a call.
    """
    try:
        yield
    except RefusedError as error:
        # The text is our own, so the server's words say nothing of anybody's documents.
        raise NotThisWayError(f"HTTP {error.status}, {error.words}" if error.words else str(error)) from error
    except NoCodeError as error:
        raise NotThisWayError(f"{error}: is it an instruct model, with thinking off?") from error
    except (ServerFailedError, NoAnswerError) as error:
        raise NotThisWayError(str(error)) from error
    except OutcomeUnknownError as error:
        raise EngineError(
            f"the first tier at {asked.endpoint} does not answer: {error}; nothing is begun, run the same command again"
        ) from error


def _decimals_told(each: Try, answers: Sequence[LabelAnswer]) -> int:
    """Of what was told: /v1/systemone tells shares, all others logarithms, which may be rounded themselves."""
    logs = [value for answer in answers for value in answer.logprobs]
    if each.way == "systemone":
        return _decimals([math.exp(value) / (answer.mass or 1) for answer in answers for value in answer.logprobs])
    return min(_decimals([math.exp(value) for value in logs]), _decimals([abs(value) for value in logs]))


def _decimals(values: Sequence[float]) -> int:
    """How many decimals all the values have, at the most; a very small value is no rounded one."""
    for decimals in range(_ENOUGH_DECIMALS):
        if all(abs(value - round(value, decimals)) <= 1e-9 * value for value in values if value > _NOTHING):
            return decimals
    return _ENOUGH_DECIMALS


def refuse_unlisted(asked: ModelEndpoint, client: FirstTierClient) -> None:
    """Ask the server which models it has.

    Raises:
        JobError: the job's is not among them.
    """
    listed = listed_models(client)
    if listed is not None and asked.name not in listed:
        names = ", ".join(f"'{name}'" for name in sorted(listed)[:10]) or "none"
        raise JobError([f"model.name: {asked.endpoint} has no model '{asked.name}'; it has {names}"])


def listed_models(client: FirstTierClient) -> set[str] | None:
    """The names of a server's models, where it lists any."""
    names = {str(each["id"]) for each in _listed(client.get("/v1/models"), "data") if "id" in each}
    # Ollama lists `llama3:latest` and answers to `llama3`.
    return names | {name.removesuffix(":latest") for name in names} or None


def _listed(content: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    listed = content.get(name) if content else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _server(client: FirstTierClient, asked: ModelEndpoint, way: Way) -> tuple[str | None, str | None, int | None]:
    """What the server is, what it has loaded, and the model's context, as far as it tells."""
    if way == "ollama":
        version, tags = client.get("/api/version") or {}, client.get("/api/tags") or {}
        mine = [each for each in _listed(tags, "models") if _is_named(each, asked.name)]
        return _named("ollama", version), str(mine[0]["digest"]) if mine and mine[0].get("digest") else None, None
    mine = [each for each in _listed(client.get("/v1/models"), "data") if each.get("id") == asked.name]
    # vLLM names the folder or the id that it has loaded.
    root, context_tokens = (mine[0].get(name) if mine else None for name in ("root", "max_model_len"))
    context_tokens = context_tokens if isinstance(context_tokens, int) and context_tokens > 0 else None
    return _named("vllm", client.get("/version") or {}), None if root is None else str(root), context_tokens


def _is_named(listed: dict[str, Any], name: str) -> bool:
    return str(listed.get("name")).removesuffix(":latest") == name.removesuffix(":latest")


def _named(server: str, told: dict[str, Any]) -> str | None:
    version = told.get("version")
    return f"{server} {version}" if isinstance(version, str) else None


def cost_of(price: TokenPrice | None, usages: Sequence[Usage]) -> Decimal | None:
    """What calls cost; None where there is no price, or the server did not tell their tokens."""
    return add_known(token_cost(price, each.input_tokens, each.cached_tokens, each.output_tokens) for each in usages)
