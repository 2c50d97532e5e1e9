"""What targets would ask of Claude over a whole run, played on items like those of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.cascade.rule.doubt import FloatArray, IntArray
from pipelines.cascade.rule.estimate import Estimate, estimate_asked
from pipelines.cascade.rule.scored import AGREES, DIFFERS, UNASKED, Labels, Scored
from pipelines.cascade.rule.target import Target

# The rule is played a dozen times for each target; of more items, the shares are those of so many.
_MOST_PLAYED = 20_000


def supposed_labels(confidence: FloatArray, seed: int) -> Labels:
    """Labels as they would be if the engine were right as often as it says."""
    random = np.random.default_rng(seed)
    return np.where(random.random(len(confidence)) < np.nan_to_num(confidence), AGREES, DIFFERS).astype(np.int8)


def estimate_whole(
    confidence: FloatArray, answer: IntArray, labels: Labels, items: int, promises: Sequence[Target], seed: int
) -> list[Estimate]:
    """What each promise would ask over ``items`` items of which these were drawn.

    Args:
        confidence: of the drawn items; as `Scored` has it.
        answer: the engine's, of each.
        labels: what is known of each; UNASKED where nothing is.
        items: how many there are in all, the drawn ones among them.
        promises: to be kept.
        seed: of chance.
    """
    played = min(items, max(_MOST_PLAYED, len(labels)))
    # The drawn items themselves, and as many like them as are missing.
    like = np.arange(played) % max(len(labels), 1)
    known = np.full(played, UNASKED, np.int8)
    known[: len(labels)] = labels
    whole = Scored(confidence[like], answer[like], seed)
    return [_scaled(estimate_asked(whole, promise, known), items / played) for promise in promises]


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    asked, least, most = (round(each * factor) for each in (estimate.asked, estimate.least, estimate.most))
    return replace(estimate, asked=asked, least=least, most=most)
