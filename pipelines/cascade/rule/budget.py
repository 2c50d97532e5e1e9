"""A budget without a target: ask where the most wrong answers per dollar are, and say what agreement came of it.

    pilot ──> certify ──> escalate ──> escalate again, with what the worst case held back

The pilot teaches the curve. A uniform sample of what is left comes next: what is reported rests on it. The money that
remains goes to the items of highest P(wrong) per dollar. The set that will be kept is fixed before the sample is drawn,
so the limit on the wrong ones in it is one exact test, and each wrong one found in it lowers the limit by one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from pipelines.cascade.rule.bounds import most_wrong
from pipelines.cascade.rule.doubt import BoolArray, FloatArray, IntArray
from pipelines.cascade.rule.history import (
    Ask,
    Draw,
    History,
    pilot_items,
    pilot_size,
    walk,
)
from pipelines.cascade.rule.scored import UNASKED, Labels, Scored
from pipelines.cascade.rule.target import Target, target_steps

_PILOT_SHARE = 0.15  # of the budget, at most
_SAMPLE_SHARE = 0.25  # of what the pilot leaves, at most
_SAMPLE_MOST = 400  # at which the limit is within two points of the truth
_LEAST_PILOT = 10  # fewer labels teach no curve; the order of confidence is taken as it is
_WORTH_A_ROUND = 0.1  # of the budget: for less, nobody waits for another message batch
_NOBODY = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Spending:
    """What may be spent. Prices are the worst case; the reservations, not this plan, hold the limit."""

    cost_usd: FloatArray  # of asking each item, over 0
    budget_usd: float
    assurance: float  # of the agreement that is reported

    def __post_init__(self) -> None:
        if not (self.cost_usd > 0).all():
            raise ValueError("cost_usd must be over 0 for every item")
        if not 0 < self.assurance < 1:
            raise ValueError(f"assurance must be between 0 and 1; it is {self.assurance}")

    def affordable(self, items: IntArray, money: float) -> IntArray:
        """As many of the items as the money pays for, in their order."""
        return items[: int(np.searchsorted(np.cumsum(self.cost_usd[items]), money * (1 + 1e-12), "right"))]


@dataclass(frozen=True)
class Reached:
    """What a run came to without a promise that it should.

    With the assurance asked for, at least ``agreement_lower`` of all items agree with Claude once the ``is_accepted``
    ones keep the engine's answer; None, with the reason, where no sample says so.
    """

    is_accepted: BoolArray
    items: int
    sample: int
    sample_wrong: int
    wrong_limit: int | None  # among the accepted
    agreement_lower: float | None
    reason: str | None
    rounds: int


def next_purchase(
    scored: Scored, spending: Spending, labels: Labels, paid_usd: FloatArray | None = None
) -> Ask | Reached:
    """The next message batch, or the end.

    Args:
        scored: the run's items.
        spending: never changed within a run.
        labels: of each item, UNASKED where unknown.
        paid_usd: what each item with a label has cost, NaN where that is unknown; None: nobody knows.
    """
    if spending.cost_usd.shape != scored.confidence.shape:
        raise ValueError(f"{len(scored)} items need as many prices; there are {spending.cost_usd.size}")
    return walk(budget_steps(scored, spending, labels, paid_usd), labels).next


def when_stopped(scored: Scored, promise: Target, labels: Labels) -> Reached:
    """What a run with a target came to, stopped by its budget, if all items without a label keep the engine's answer.

    Args:
        scored: the run's items.
        promise: the target that was not reached, and the assurance of what is reported instead.
        labels: of each item, UNASKED where unknown.
    """
    finished = walk(target_steps(scored, promise, labels), labels).finished
    history = History(scored, labels)
    history.rounds, history.is_known = len(finished), labels != UNASKED
    draw = next((ask.draw for ask in finished if ask.draw is not None), Draw(_NOBODY, np.arange(len(scored))))
    return _reached(history, draw.of, draw.sample, promise.assurance)


def budget_steps(
    scored: Scored, spending: Spending, labels: Labels, paid_usd: FloatArray | None = None
) -> Generator[Ask, None, Reached]:
    """A run from its start; see `history` for how to walk it, and `next_purchase` for what it is told."""
    history, cost, money = History(scored, labels), spending.cost_usd, spending.budget_usd
    pilot = _pilot(scored, spending)
    if len(pilot):
        yield history.ask("pilot", pilot)
        money -= float(cost[pilot].sum())
    pool = np.flatnonzero(~history.is_known)
    pool = _worth_most_first(history, cost, pool)
    size, price = _sample_size(cost[pool], money)
    chosen = spending.affordable(pool, money - price)
    kept = pool[len(chosen) :]
    sample = history.draw(pool, size)
    if len(sample):
        yield history.ask("certify", sample, Draw(sample, pool))
        money -= float(cost[sample].sum())
    chosen = chosen[~history.is_known[chosen]]
    more = spending.affordable(kept[~history.is_known[kept]], money - float(cost[chosen].sum()))
    if len(chosen) + len(more):
        yield history.ask("escalate", np.r_[chosen, more])
    again = _second_purchase(history, spending, kept, paid_usd)
    if len(again):
        yield history.ask("escalate", again)
    return _reached(history, kept, sample, spending.assurance)


def _worth_most_first(history: History, cost: FloatArray, items: IntArray) -> IntArray:
    """By P(wrong) per dollar."""
    order: IntArray = np.lexsort((-history.scored.place[items], -history.doubts(items) / cost[items]))
    return items[order]


def _second_purchase(history: History, spending: Spending, kept: IntArray, paid_usd: FloatArray | None) -> IntArray:
    """What can still be paid for, in the worst case again; all of it lies in the set that the sample is about."""
    if paid_usd is None or not history.rounds:
        return _NOBODY
    money = spending.budget_usd - float(paid_usd[history.is_known].sum())
    if not money >= _WORTH_A_ROUND * spending.budget_usd:  # nor where the sum is NaN
        return _NOBODY
    return spending.affordable(_worth_most_first(history, spending.cost_usd, kept[~history.is_known[kept]]), money)


def _pilot(scored: Scored, spending: Spending) -> IntArray:
    if not len(scored):
        return _NOBODY
    count = min(pilot_size(scored), int(_PILOT_SHARE * spending.budget_usd / float(spending.cost_usd.mean())))
    items = pilot_items(scored, count, is_even=True) if count >= _LEAST_PILOT else _NOBODY
    return items if spending.cost_usd[items].sum() <= spending.budget_usd else _NOBODY


def _sample_size(cost: FloatArray, money: float) -> tuple[int, float]:
    """Items to draw, and their worst price: were not every draw affordable, the sample would not be uniform."""
    if not len(cost):
        return 0, 0.0
    dearest = np.cumsum(np.sort(cost)[::-1])
    affordable = int(np.searchsorted(dearest, money, "right"))
    size = min(_SAMPLE_MOST, int(_SAMPLE_SHARE * max(money, 0) / float(cost.mean())), affordable)
    return size, float(dearest[size - 1]) if size else 0.0


def _reached(history: History, kept: IntArray, sample: IntArray, assurance: float) -> Reached:
    """The limit on what stays wrong in ``kept``, a set in whose choice the sample's labels had no say.

    All that is accepted lies in it; what was found wrong in it, by the sample or otherwise, is put right.
    """
    is_accepted, items = ~history.is_known, len(history.scored)
    drawn = np.intersect1d(sample, kept)
    limit, reason = None, None
    if not is_accepted.any():
        limit = 0
    elif len(drawn):
        at_most = most_wrong(history.wrong(drawn), items=len(kept), drawn=len(drawn), delta=1 - assurance)
        limit = min(at_most - history.wrong(kept), int(is_accepted.sum()))
    else:
        reason = "the budget did not pay for a uniform sample of the items that were kept"
    lower = None if limit is None else (1 - limit / items if items else 1.0)
    return Reached(is_accepted, items, len(sample), history.wrong(sample), limit, lower, reason, history.rounds)
