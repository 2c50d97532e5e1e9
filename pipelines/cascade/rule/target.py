"""The quality target as steps: what to ask next, from what is known so far.

    pilot ──> plan ──> certify ──> accept ──> escalate

The promise: with probability `assurance`, over the rule's own drawing of items, at most a share of 1 - `target` of the
items keeps an answer other than Claude's. Nothing is assumed about the scores, the answers or the curve. Why it holds:
see `chain`. The pilot's items leave the pool before the chain is planned from them, and the certifying sample is drawn
from what is left.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from pipelines.cascade.rule.bounds import allowed_wrong, most_wrong
from pipelines.cascade.rule.chain import LEAST_DOUBT, Chain, can_certify, no_chain, plan_chain
from pipelines.cascade.rule.doubt import BoolArray, IntArray
from pipelines.cascade.rule.history import Ask, History, first_unfinished, pilot_items, pilot_size
from pipelines.cascade.rule.scored import Labels, Scored

__all__ = ["Ask", "Certificate", "Settled", "Target", "next_step", "target_steps"]


@dataclass(frozen=True)
class Target:
    """What is promised: agreement with Claude on a share of the items, and how sure of it."""

    target: float
    assurance: float

    def __post_init__(self) -> None:
        if not 0 < self.target <= 1:
            raise ValueError(f"target must be over 0 and at most 1; it is {self.target}")
        if not 0 < self.assurance < 1:
            raise ValueError(f"assurance must be between 0 and 1; it is {self.assurance}")

    @property
    def delta(self) -> float:
        """The chance that the target is missed."""
        return 1 - self.assurance


@dataclass(frozen=True)
class Certificate:
    """On what the promise rests, for the record and for people."""

    items: int
    allowed_wrong: int
    pilot: int
    sample: int
    sample_wrong: int
    sample_limit: int | None  # wrong items in the pool the sample is drawn from, right with the assurance
    prefix: int  # items accepted by the chain before the credit is paid; 0: only as many are kept as may be wrong
    prefix_drawn: int
    prefix_wrong: int
    credit: int
    found: int  # wrong answers put right within the prefix: at least its credit
    rounds: int


@dataclass(frozen=True)
class Settled:
    """Nothing more to ask: ``is_accepted`` items keep the engine's answer, all others carry a label."""

    is_accepted: BoolArray
    certificate: Certificate


def next_step(scored: Scored, promise: Target, labels: Labels) -> Ask | Settled:
    """The next message batch, or the end.

    Args:
        scored: the run's items.
        promise: never changed within a run.
        labels: of each item, UNASKED where unknown. Those of other purposes may be among them.
    """
    return first_unfinished(target_steps(scored, promise, labels), labels)


def target_steps(scored: Scored, promise: Target, labels: Labels) -> Generator[Ask, None, Settled]:
    """A run from its start; see `history` for how to walk it."""
    history, delta = History(scored, labels), promise.delta
    budget = allowed_wrong(len(scored), promise.target)
    pool, chain = scored.order, no_chain(len(scored), budget)
    if can_certify(len(scored), budget, delta):
        yield history.ask("pilot", pilot_items(scored, pilot_size(scored)))
        pool = history.unknown()
        random = scored.generator("plan")
        chain = plan_chain(history.curve(), scored.rank[pool], scored.codes[pool], budget, delta, random)
    sample = history.draw(pool, chain.sample)
    if chain.sample:
        yield history.ask("certify", sample)
    prefix, credit = _choose(history, pool, chain, delta)
    inside = pool[:prefix] if prefix else history.unknown()[:budget]
    drawn = np.intersect1d(sample, inside) if prefix else sample[:0]
    yield from _escalate(history, inside, budget, credit)
    wrong, size = history.wrong(sample), len(sample)
    certificate = Certificate(
        items=len(scored),
        allowed_wrong=budget,
        pilot=len(scored) - len(pool),
        sample=size,
        sample_wrong=wrong,
        sample_limit=most_wrong(wrong, items=len(pool), drawn=size, delta=delta) if size else None,
        prefix=prefix,
        prefix_drawn=len(drawn),
        prefix_wrong=history.wrong(drawn),
        credit=credit,
        found=history.wrong(inside),
        rounds=history.rounds,
    )
    return Settled(~history.is_known, certificate)


def _choose(history: History, pool: IntArray, chain: Chain, delta: float) -> tuple[int, int]:
    """Prefix and credit of the accepted link that costs least; (0, 0) where keeping the budget's worth costs less."""
    drawn = np.cumsum(history.is_known[pool], dtype=np.int64)[chain.prefixes - 1]
    wrong = np.cumsum(history.is_wrong(pool), dtype=np.int64)[chain.prefixes - 1]
    holds = chain.accepted(drawn, wrong, delta)
    if not holds:
        return 0, 0
    ends, drawn = chain.prefixes[:holds], drawn[:holds]
    edge = np.maximum(history.doubts(pool[ends - 1]), LEAST_DOUBT)
    short = np.maximum(chain.credits[:holds] - wrong[:holds], 0)
    further = (len(pool) - ends) - (chain.sample - drawn) + short / edge
    best = int(further.argmin())
    if further[best] >= len(pool) - chain.sample - chain.budget:
        return 0, 0
    return int(ends[best]), int(chain.credits[best])


def _escalate(history: History, inside: IntArray, budget: int, credit: int) -> Generator[Ask, None, None]:
    """All outside, and inside the most doubtful until as many wrong answers are found as the credit says."""
    is_outside = ~history.is_known
    is_outside[inside] = False
    outside = history.by_doubt(np.flatnonzero(is_outside))[::-1]
    while len(batch := np.r_[outside, _most_doubtful(history, inside, budget, credit)]):
        yield history.ask("escalate", batch)
        outside = outside[:0]


def _most_doubtful(history: History, inside: IntArray, budget: int, credit: int) -> IntArray:
    """Unasked items that should hold what is missing of the credit; none where the rest is within the budget."""
    unasked, missing = inside[~history.is_known[inside]], credit - history.wrong(inside)
    if missing <= 0 or len(unasked) <= budget:
        return unasked[:0]
    unasked = history.by_doubt(unasked)[::-1]
    expected = np.cumsum(np.maximum(history.doubts(unasked), LEAST_DOUBT))
    return unasked[: max(missing, int(np.searchsorted(expected, missing)) + 1)]
