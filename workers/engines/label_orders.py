"""A shard of a classification, its labels read in two orders: half the items in each, or each item in both.

In: an engine, ids and token ids of items. Out: scores in the items' order and in that of the job's labels. Both orders'
requests are queued at once, so that the engine does not drain between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.tasks.label_order import in_given_order, mean_logprobs, reads_reversed
from workers.engines.engine import LabelEngine
from workers.engines.requests import ShardScores
from workers.engines.tokens import TokenFrame


@dataclass(frozen=True)
class TwoOrders:
    """How the second order is used, and the prompt it makes: that of the same codes with the labels reversed."""

    label_order: Literal["seeded", "averaged"]
    reversed_frame: TokenFrame

    def score(
        self, engine: LabelEngine, item_ids: Sequence[str], documents: Sequence[NDArray[np.int32]]
    ) -> ShardScores:
        """Score a shard.

        Raises:
            EngineError: the engine failed.
        """
        if self.label_order == "averaged":
            return self._score_averaged(engine, documents)
        return self._score_seeded(engine, item_ids, documents)

    def _score_averaged(self, engine: LabelEngine, documents: Sequence[NDArray[np.int32]]) -> ShardScores:
        futures = engine.score(documents), engine.score(documents, self.reversed_frame)
        given, turned = futures[0].result(), _in_given_order(futures[1].result())
        return ShardScores(
            label_logprobs=mean_logprobs(given.label_logprobs, turned.label_logprobs),
            input_tokens=given.input_tokens + turned.input_tokens,
            cached_tokens=given.cached_tokens + turned.cached_tokens,
            output_tokens=given.output_tokens + turned.output_tokens,
            device_nanoseconds=given.device_nanoseconds + turned.device_nanoseconds,
        )

    def _score_seeded(
        self, engine: LabelEngine, item_ids: Sequence[str], documents: Sequence[NDArray[np.int32]]
    ) -> ShardScores:
        is_reversed = reads_reversed(item_ids)
        straight, turned = np.flatnonzero(~is_reversed), np.flatnonzero(is_reversed)
        futures = (
            engine.score([documents[row] for row in straight]),
            engine.score([documents[row] for row in turned], self.reversed_frame),
        )
        halves = futures[0].result(), _in_given_order(futures[1].result())
        rows = np.argsort(np.concatenate([straight, turned]))
        return ShardScores(
            label_logprobs=np.concatenate([half.label_logprobs for half in halves])[rows],
            input_tokens=np.concatenate([half.input_tokens for half in halves])[rows],
            cached_tokens=np.concatenate([half.cached_tokens for half in halves])[rows],
            output_tokens=np.concatenate([half.output_tokens for half in halves])[rows],
            device_nanoseconds=np.concatenate([half.device_nanoseconds for half in halves])[rows],
        )


def _in_given_order(scores: ShardScores) -> ShardScores:
    return replace(scores, label_logprobs=in_given_order(scores.label_logprobs))
