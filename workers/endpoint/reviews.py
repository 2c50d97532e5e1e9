"""What a first tier over HTTP is asked about an item of a code review: both passes, as an engine of our own is.

In: the text of an item. Out: its review, as columns of schema `FIRST_TIER_REVIEWS`. The item is cut into pieces here,
by the server's own tokens: what a policy holds back has then not been sent to a hosted one, not even to be counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.costs.first_tier import worst_cost
from pipelines.documents.code.cutting.pieces import cut_into_pieces
from pipelines.store.schemas import FIRST_TIER_REVIEWS, PLAN
from pipelines.tasks.code_review.answers import MAX_FINDINGS_PER_ANSWER, engine_answer_schema
from pipelines.tasks.code_review.prompts import CODE_MARK
from workers.endpoint.client import FirstTierClient
from workers.endpoint.plain import plain
from workers.endpoint.scorer import Item, OverHttpScorer, Row
from workers.endpoint.served import ResolvedEndpoint
from workers.endpoint.ways import (
    PATHS,
    Usage,
    completion_body,
    read_by_ids,
    read_text,
    read_tokens,
    tokens_body,
    total,
    writing_body,
)
from workers.engines.requests import ShardScores, ShardTexts
from workers.engines.reviews import LONGER_ANSWER, Reviewer, ReviewSettings

_NOTHING = Usage(0, 0, 0)
_WITHOUT: dict[str, Any] = {
    "unfinished": None,
    "findings": [],
    "clean_claims": [],
    "dropped_findings": 0,
    "verification_input_tokens": None,
    "verification_cached_tokens": None,
}
# A claim names path, place, category and message, which the schema bounds; a character is at most four bytes.
_MOST_CLAIM_BYTES = 4 * 4_096


class ReviewScorer(OverHttpScorer):
    """Asks for findings, then about each finding."""

    schema = FIRST_TIER_REVIEWS
    wanted = "review"

    def __init__(
        self,
        run_root: str,
        model: ResolvedEndpoint,
        settings: ReviewSettings,
        piece_tokens: int,
        client: FirstTierClient,
    ) -> None:
        """Make ready; nothing is asked yet.

        Args:
            run_root: of the run's store.
            model: the first tier.
            settings: of both passes.
            piece_tokens: of an item's text that are asked about at a time.
            client: to its server.
        """
        super().__init__(run_root, model, client)
        self._settings, self._piece_tokens = settings, piece_tokens

    def _asked(self, item: Item, usages: list[Usage]) -> Row:
        cut = self._cut(item)
        (failure,) = cut["failure"].to_pylist()
        if failure is not None:
            return Row(item.item_id, None, failure, None, _NOTHING)
        calls = _Calls(lambda body: self._answer_to(body, usages), self._model.served.name, self._settings)
        reviewer = Reviewer(calls, self._settings, lambda texts: self._tokens(texts, None))
        (review,) = reviewer.review(cut).to_pylist()
        claims = total(usages[-calls.claims :]) if calls.claims else _NOTHING
        usage = total(usages)
        told = {name: value for name, value in review.items() if name in FIRST_TIER_REVIEWS.names}
        told |= {
            "input_tokens": usage.input_tokens,
            "cached_tokens": usage.cached_tokens,
            "output_tokens": usage.output_tokens,
            "verification_input_tokens": claims.input_tokens,
            "verification_cached_tokens": claims.cached_tokens,
        }
        # A review that cannot be read is the model's answer all the same, and no sign of a server that is gone.
        return Row(item.item_id, told, None, None, usage)

    def _columns(self, answer: Mapping[str, Any] | None) -> Mapping[str, Any]:
        return _WITHOUT if answer is None else answer

    def _worst_cost(self, item: Item) -> Decimal | None:
        """As many findings as the schema allows, all of them claims, each answer asked for twice."""
        settings, text_bytes = self._settings, len(item.text.encode())
        pieces = text_bytes // self._piece_tokens + 1  # no token is less than a byte
        around = settings.context_tokens - self._piece_tokens
        requests = 2 + MAX_FINDINGS_PER_ANSWER
        read = requests * (2 * text_bytes + pieces * (around + _MOST_CLAIM_BYTES))
        written = pieces * (settings.max_output_tokens * (1 + LONGER_ANSWER) + MAX_FINDINGS_PER_ANSWER)
        return worst_cost(self._model.asked.price, read, output_tokens=written)

    def _cut(self, item: Item) -> pa.Table:
        (tokens,) = self._tokens([item.text], CODE_MARK)
        row = {"item_id": item.item_id, "document_id": item.document_id, "document_uri": "", "document_offset": 0}
        plan = pa.Table.from_pylist([row | {"text": item.text, "tokens": tokens}], schema=PLAN)
        return cut_into_pieces(plan, lambda texts: self._tokens(texts, CODE_MARK), self._piece_tokens)

    def _tokens(self, texts: Sequence[str], mark: str | None) -> list[list[int]]:
        name = self._model.served.name
        bodies = (tokens_body(name, plain(text, mark)) for text in texts)
        return [read_tokens(self._client.post("/tokenize", body, is_free=True)) for body in bodies]

    def _answer_to(self, body: Mapping[str, Any], usages: list[Usage]) -> dict[str, Any]:
        content = self._client.post(PATHS["prompt_ids"], body)
        self._used(content, usages)
        return content


class _Calls:
    """A server in an engine's place, about one item; ``claims``: how many of the calls were about claims, the last."""

    def __init__(
        self, answer_to: Callable[[Mapping[str, Any]], dict[str, Any]], name: str, settings: ReviewSettings
    ) -> None:
        self._answer_to, self._name, self._settings = answer_to, name, settings
        self._schema = engine_answer_schema()
        self.claims = 0

    def write(self, prompts: Sequence[list[int]], max_output_tokens: int | None = None) -> Future[ShardTexts]:
        """An answer to each prompt, one call after the other."""
        limit = max_output_tokens or self._settings.max_output_tokens
        context = self._settings.context_tokens
        bodies = (
            # An engine stops where its context ends; a server refuses what could go beyond.
            writing_body(self._name, prompt, self._schema, min(limit, context - len(prompt)))
            for prompt in prompts
        )
        texts = [read_text(self._answer_to(body)) for body in bodies]
        return _done(ShardTexts(texts, *_uncounted(len(prompts))))

    def score(self, prompts: Sequence[list[int]]) -> Future[ShardScores]:
        """The log-probabilities of true and false after each prompt, one call after the other."""
        codes = self._settings.frame.codes
        logprobs = np.empty((len(prompts), len(codes)), np.float32)
        for row, prompt in enumerate(prompts):
            content = self._answer_to(completion_body(self._name, prompt, codes))
            self.claims += 1
            logprobs[row] = read_by_ids(content, codes).logprobs
        return _done(ShardScores(logprobs, *_uncounted(len(prompts))))


def _uncounted(count: int) -> list[np.ndarray[Any, Any]]:
    """The server's own counts are kept elsewhere: of these, some may be unknown."""
    return [np.zeros(count, np.int64) for _ in range(4)]


def _done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future
