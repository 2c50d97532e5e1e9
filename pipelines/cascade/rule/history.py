"""A run told from its start: which message batches it asked, and what was known after each.

A rule is a generator of `Ask`; taking its next step says that every item of the last batch now has its place in the
labels filled. The history shows it the labels of its own batches so far and no others, even when more are known by
now. So the same scores, seed and labels always tell the same story, and a run that was killed asks the very items that
it would have asked.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import numpy as np

from pipelines.cascade.rule.doubt import BoolArray, Doubt, FloatArray, IntArray, Seen
from pipelines.cascade.rule.earlier import prior_of
from pipelines.cascade.rule.scored import AGREES, UNASKED, Labels, Scored

Stage = Literal["pilot", "certify", "escalate"]
End = TypeVar("End")

_PILOT_SHARE, _PILOT_LEAST, _PILOT_MOST = 0.04, 30, 80  # half more or a quarter less: 0.3 % fewer are kept
_PILOT_SHARE_OF_MANY = 0.001  # many items repay what many labels teach of many answers
# For a target, the pilot's slices end where equal ones would, to this power: half of it lies in the least sure twelfth,
# which is asked in the end whatever the pilot says. Even slices keep about half a point less; 1/4 to 1/14, as much.
_TOWARDS_THE_END = 1 / 8


@dataclass(frozen=True)
class Draw:
    """Items drawn uniformly, and of which ones."""

    sample: IntArray
    of: IntArray


@dataclass(frozen=True)
class Ask:
    """A message batch, most doubtful first where that is known. Items that carry a label already need no asking."""

    stage: Stage
    round: int  # from 1: message batches that wait for each other
    items: IntArray
    draw: Draw | None = None
    is_at_once: bool = False  # nothing is bought before it: all but as many as may be wrong (see `at_once`)
    pilot: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # those of the items that only teach

    @property
    def weights(self) -> FloatArray:
        """For how many items of the run the label of each of these stands."""
        weights = np.ones(len(self.items))
        if self.draw is not None:
            weights[np.isin(self.items, self.draw.sample)] = len(self.draw.of) / len(self.draw.sample)
        return weights


@dataclass(frozen=True)
class Walked(Generic[End]):
    """How far a rule comes with the labels that are there: to a batch with an item without one, or to its end."""

    finished: list[Ask]
    unfinished: Ask | None
    end: End | None

    @property
    def next(self) -> Ask | End:
        """What is to be asked next; where there is nothing, how the rule ended."""
        step = self.end if self.unfinished is None else self.unfinished
        assert step is not None
        return step


def walk(steps: Generator[Ask, None, End], labels: Labels) -> Walked[End]:
    """Take a rule's steps as far as ``labels`` answers their batches in full."""
    finished: list[Ask] = []
    while True:
        try:
            ask = next(steps)
        except StopIteration as end:
            return Walked(finished, None, end.value)
        if (labels[ask.items] == UNASKED).any():
            return Walked(finished, ask, None)
        finished.append(ask)


def pilot_size(scored: Scored) -> int:
    """How many labels a budget and an estimate learn from first; half of it where earlier runs have taught something.

    A target, which learns from its sample too, takes a part of it.
    """
    few = np.clip(_PILOT_SHARE * len(scored), _PILOT_LEAST, _PILOT_MOST)
    size = int(max(few, _PILOT_SHARE_OF_MANY * len(scored)))
    return min(size if prior_of(scored) is None else size // 2, len(scored))


def pilot_items(scored: Scored, count: int, *, is_even: bool) -> IntArray:
    """One item by chance from each of ``count`` slices of the ranking: equal ones, or ever shorter ones."""
    shares = np.linspace(0, 1, count + 1) ** (1 if is_even else _TOWARDS_THE_END)
    places = np.arange(count + 1)
    edges = (shares * len(scored)).astype(np.int64)
    edges = np.minimum.accumulate((edges - places)[::-1])[::-1] + places  # none is empty
    within = scored.chance("pilot")[:count] / 2.0**64
    items: IntArray = scored.order[edges[:-1] + (within * np.diff(edges)).astype(np.int64)]
    return items


class History:
    """What is known at one point of a run."""

    def __init__(self, scored: Scored, labels: Labels) -> None:
        if labels.shape != scored.confidence.shape:
            raise ValueError(f"{len(scored)} items need as many labels; there are {labels.size}")
        self.scored = scored
        self.is_known = np.zeros(len(scored), np.bool_)
        self.rounds = 0
        self._labels = labels
        self._fitted: tuple[int, Doubt] | None = None

    def ask(
        self,
        stage: Stage,
        items: IntArray,
        draw: Draw | None = None,
        *,
        is_at_once: bool = False,
        pilot: IntArray | None = None,
    ) -> Ask:
        """Make a batch of the items; to be yielded right away."""
        self.is_known[items] = True
        self.rounds += 1
        return Ask(stage, self.rounds, items, draw, is_at_once, items[:0] if pilot is None else pilot)

    def unknown(self) -> IntArray:
        """Items of no batch so far, least doubtful first."""
        return self.by_doubt(np.flatnonzero(~self.is_known))

    def is_wrong(self, items: IntArray) -> BoolArray:
        """Whether each is known to be wrong, or to stay without an answer."""
        return self.is_known[items] & (self._labels[items] > AGREES)

    def wrong(self, items: IntArray) -> int:
        """How many are."""
        return int(self.is_wrong(items).sum())

    def curve(self) -> Doubt:
        """Fitted to all that is known, and to what earlier runs have learnt."""
        if self._fitted is None or self._fitted[0] != self.rounds:
            self._fitted = self.rounds, self.curve_of(np.flatnonzero(self.is_known))
        return self._fitted[1]

    def curve_of(self, items: IntArray) -> Doubt:
        """Fitted to the labels of these, and to what earlier runs have learnt."""
        items = items[~self.scored.has_no_answer[items]]
        seen = Seen.each(self.scored.rank[items], self.scored.codes[items], self.is_wrong(items))
        return Doubt.fit(seen, int(self.scored.codes.max(initial=0)) + 1, prior_of(self.scored))

    def doubts(self, items: IntArray) -> FloatArray:
        """P(wrong) of each, as far as is known."""
        return self._doubts(items, self.curve())

    def by_doubt(self, items: IntArray, curve: Doubt | None = None) -> IntArray:
        """Least doubtful first; of equal doubt, the surer, and of equally sure, as chance has set."""
        order: IntArray = np.lexsort((self.scored.place[items], self._doubts(items, curve or self.curve())))
        return items[order]

    def besides(self, kept: IntArray) -> IntArray:
        """Items of no batch so far but the kept ones, most doubtful first; none is kept that has no answer."""
        is_left = ~self.is_known
        is_left[kept] = self.scored.has_no_answer[kept] & is_left[kept]
        return self.by_doubt(np.flatnonzero(is_left))[::-1]

    def _doubts(self, items: IntArray, curve: Doubt) -> FloatArray:
        doubts = curve.probability(self.scored.rank[items], self.scored.codes[items])
        return np.where(self.scored.has_no_answer[items], 1.0, doubts)

    def draw(self, pool: IntArray, size: int) -> IntArray:
        """Uniformly and without replacement; a larger sample holds the smaller one."""
        return pool[np.argsort(self.scored.chance("certify")[pool])[:size]]
