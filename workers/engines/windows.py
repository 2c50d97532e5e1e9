"""A shard of a classification in which some documents are read window by window: a request for each window.

In: an engine's way to score documents, ids and token ids of items, and the windows of those that have some. Out: one
row of scores an item, tokens and times summed over its windows, and their order by sureness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.tasks.window_answers import WindowMerge
from workers.engines.requests import ShardScores
from workers.engines.word_tokens import TokenIds

Windows = Sequence[Mapping[str, int]]
ScoreDocuments = Callable[[Sequence[str], Sequence[TokenIds]], ShardScores]


@dataclass(frozen=True)
class WindowedScores:
    """Scores of the items; ``orders``: of each, the places of its windows, surest first. None: it was read at once."""

    scores: ShardScores
    orders: list[NDArray[np.int32] | None]


def score_windows(
    score: ScoreDocuments,
    item_ids: Sequence[str],
    documents: Sequence[TokenIds],
    windows: Sequence[Windows | None],
    merge: WindowMerge,
) -> WindowedScores:
    """Score a shard; what is read at once is asked exactly as without windows.

    Args:
        score: scores of documents, in their order; the ids say which item each is of.
        item_ids: of the shard.
        documents: token ids of each.
        windows: over them; None of a document that is read at once.
        merge: makes one answer of several.

    Raises:
        EngineError: the engine failed.
    """
    parts = [_parts(*pair) for pair in zip(documents, windows, strict=True)]
    ids = [item_id for item_id, of_item in zip(item_ids, parts, strict=True) for _ in of_item]
    each = score(ids, [part for of_item in parts for part in of_item])
    ends = np.cumsum([len(of_item) for of_item in parts], dtype=np.int64)
    starts = np.concatenate([[0], ends])[: len(parts)].astype(np.int64)
    logprobs = each.label_logprobs[starts]
    orders: list[NDArray[np.int32] | None] = [None] * len(parts)
    for row, of_item in enumerate(parts):
        if windows[row] is not None:
            lengths = np.array([len(part) for part in of_item], np.int64)
            logprobs[row], orders[row] = merge.merged(each.label_logprobs[starts[row] : ends[row]], lengths)
    scores = ShardScores(
        logprobs,
        _summed(each.input_tokens, starts),
        _summed(each.cached_tokens, starts),
        _summed(each.output_tokens, starts),
        _summed(each.device_nanoseconds, starts),
    )
    return WindowedScores(scores, orders)


def _parts(document: TokenIds, windows: Windows | None) -> list[TokenIds]:
    if windows is None:
        return [document]
    return [document[each["first_token"] :][: each["tokens"]] for each in windows]


def _summed(values: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    if not len(starts):
        return values[:0]
    sums: NDArray[np.int64] = np.add.reduceat(values, starts)
    return sums
