"""What a first tier over HTTP is asked about a document that is classified: how likely each of the labels is.

In: the text of an item. Out: the labels' log-probabilities, as columns of schema `FIRST_TIER`. Where there are more
labels than one request tells of, the same prompt is sent again for the next codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pipelines.costs.first_tier import worst_cost
from pipelines.store.schemas import FIRST_TIER
from workers.endpoint.client import FirstTierClient, RefusedError
from workers.endpoint.plain import plain
from workers.endpoint.scorer import Item, OverHttpScorer, Row
from workers.endpoint.served import ResolvedEndpoint
from workers.endpoint.ways import (
    MOST_MASS,
    PATHS,
    AskedOverHttp,
    NoAnswerError,
    Usage,
    completion_body,
    in_requests,
    joined,
    read_answer,
    read_tokens,
    request_body,
    tokens_body,
    total,
)

# What a server answers to a text that is longer than its model reads; a shorter one is asked about, then, and said so.
_TOO_LONG = (400, 413, 422)
_SHORTEST_CUT, _CUT_TO, _CHARS_PER_TOKEN = 2_000, 0.75, 16
# Of an item without an answer: as likely as nothing, and no number that a logarithm cannot be.
_NONE = math.log(1e-30)

_Contents = list[dict[str, Any]]


class LabelScorer(OverHttpScorer):
    """Asks which label fits."""

    schema = FIRST_TIER
    wanted = "label"

    def __init__(self, run_root: str, model: ResolvedEndpoint, asked: AskedOverHttp, client: FirstTierClient) -> None:
        """Make ready; nothing is asked yet.

        Args:
            run_root: of the run's store.
            model: the first tier.
            asked: about every document.
            client: to its server.
        """
        super().__init__(run_root, model, client)
        self._question = asked
        self._codes = in_requests(model.served.token_ids)

    def _asked(self, item: Item, usages: list[Usage]) -> Row:
        served = self._model.served
        ask = self._ask_by_ids if served.way == "prompt_ids" else self._ask_by_text
        contents, note = ask(plain(item.text), usages)
        usage = total(usages)
        try:
            pairs = zip(contents, self._codes, strict=True)
            answer = joined([read_answer(served.way, content, self._question, ids) for content, ids in pairs])
        except NoAnswerError as error:
            return Row(item.item_id, None, f"the first tier gave no label: {error}", note, usage)
        if math.fsum(map(math.exp, answer.logprobs)) > MOST_MASS:
            failure = "the first tier gave no label: its probabilities are over 1 together"
            return Row(item.item_id, None, failure, note, usage)
        columns = {"label_logprobs": list(answer.logprobs), "label_mass": answer.mass}
        return Row(item.item_id, columns, None, note, usage)

    def _columns(self, answer: Mapping[str, Any] | None) -> Mapping[str, Any]:
        none = {"label_logprobs": [_NONE] * len(self._question.labels), "label_mass": None}
        return none if answer is None else answer

    def _worst_cost(self, item: Item) -> Decimal | None:
        around, labels, requests = self._question.prompt, self._question.labels, len(self._codes)
        words = [around.before, around.after, self._question.instructions, *(label.name for label in labels)]
        words += [label.description or "" for label in labels]
        request_bytes = len(item.text.encode()) + sum(len(word.encode()) for word in words)
        return worst_cost(self._model.asked.price, requests * request_bytes, output_tokens=requests)

    def _ask_by_ids(self, text: str, usages: list[Usage]) -> tuple[_Contents, str | None]:
        """The server's answers to the very tokens that an engine would be given, and what is to be known of them."""
        served, note = self._model.served, None
        tokens = read_tokens(self._client.post("/tokenize", tokens_body(served.name, text), is_free=True))
        room = (served.context_tokens or len(tokens)) - len(served.prefix) - len(served.suffix) - 1
        if served.context_tokens and len(tokens) > room:
            note = f"cut: the first tier read the first {room:,} of {len(tokens):,} tokens (limit: the model's context)"
            tokens = tokens[:room]
        prompt = [*served.prefix, *tokens, *served.suffix]
        bodies = (completion_body(served.name, prompt, ids) for ids in self._codes)
        return [self._answer_to(body, usages) for body in bodies], note

    def _ask_by_text(self, text: str, usages: list[Usage]) -> tuple[_Contents, str | None]:
        """The same of a server that makes its own tokens: what is too long for it, it refuses."""
        served, shown, contents = self._model.served, text, _Contents()
        thinking_off = served.turns_thinking_off
        while len(contents) < len(self._codes):
            ids = self._codes[len(contents)]
            body = request_body(
                served.way, served.name, self._question, shown, token_ids=ids, thinking_off=thinking_off
            )
            try:
                contents.append(self._answer_to(body, usages))
            except RefusedError as error:
                if contents or error.status not in _TOO_LONG or len(shown) <= _SHORTEST_CUT:
                    raise
                shown = shown[: self._shorter(len(shown))]
        if len(shown) == len(text):
            return contents, None
        note = f"cut: the first tier read the first {len(shown):,} of {len(text):,} characters, as it refuses more"
        return contents, note

    def _answer_to(self, body: Mapping[str, Any], usages: list[Usage]) -> dict[str, Any]:
        content = self._client.post(PATHS[self._model.served.way], body)
        self._used(content, usages)
        return content

    def _shorter(self, length: int) -> int:
        """How much to show where so much was too long; a model's context is reached in few steps."""
        known = self._model.served.context_tokens
        if known and length > known * _CHARS_PER_TOKEN:
            return known * _CHARS_PER_TOKEN
        return max(int(length * (_CUT_TO if known else _CUT_TO**2)), _SHORTEST_CUT)
