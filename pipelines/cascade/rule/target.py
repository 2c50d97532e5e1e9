"""The quality target as steps: what to ask next, from what is known so far.

    pilot ──> plan ──> certify, and ask what is beyond hope ──> accept ──> escalate

The promise: with probability `assurance`, over the rule's own drawing of items, at most a share of 1 - `target` of the
items keeps an answer other than Claude's. Nothing is assumed about the scores, the answers or the curve. Why it holds:
see `strikes`. The pilot's items leave the pool before anything is planned from them, and the certifying sample is drawn
from what is left. There are three message batches at most; two where all that was left may stand, or earlier runs make
up for a pilot (see `earlier`); one where waiting for more would spare next to nothing (see `at_once`).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from pipelines.cascade.rule.at_once import is_worth_waiting
from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.doubt import BoolArray, IntArray
from pipelines.cascade.rule.earlier import is_confirmed
from pipelines.cascade.rule.history import Ask, Draw, History, pilot_items, pilot_size, walk
from pipelines.cascade.rule.scored import Labels, Scored
from pipelines.cascade.rule.strike_limits import Counted
from pipelines.cascade.rule.strikes import StrikesPlan, plan_strikes

__all__ = ["Ask", "Certificate", "Settled", "Target", "next_step", "target_steps"]

# Of the chance that a target may be missed. The test is exact, so all of it would be used up, whatever the items: half
# of all sets of runs would seem to keep a little less than was promised. At this, 1,000 runs show that they keep it.
SPENT = 0.8


@dataclass(frozen=True)
class Target:
    """What is promised: agreement with Claude on a share of the items, and how sure of it."""

    target: float
    assurance: float
    audit_items: int = 0  # accepted ones that will be asked afterwards; the fewer are saved

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
    stretch: int  # items that the sample is drawn from, uniformly
    sample: int
    sample_wrong: int
    strikes: int  # wrong ones of the sample that may lie in the prefix
    prefix: int  # items accepted, the sample's among them; 0: only as many are kept as may be wrong
    prefix_drawn: int
    prefix_wrong: int  # found by the sample, and put right
    agreement: float | None  # of the engine with Claude over all items, estimated; None without a sample
    rounds: int


@dataclass(frozen=True)
class Settled:
    """Nothing more to ask: ``is_accepted`` items keep the engine's answer, all others carry a label."""

    is_accepted: BoolArray
    certificate: Certificate
    counted: Counted | None = None  # in the term, where the run is one of one


def next_step(scored: Scored, promise: Target, labels: Labels) -> Ask | Settled:
    """The next message batch, or the end.

    Args:
        scored: the run's items.
        promise: never changed within a run.
        labels: of each item, UNASKED where unknown. Those of other purposes may be among them.
    """
    return walk(target_steps(scored, promise, labels), labels).next


def target_steps(scored: Scored, promise: Target, labels: Labels) -> Generator[Ask, None, Settled]:
    """A run from its start; see `history` for how to walk it."""
    history, delta = History(scored, labels), SPENT * promise.delta
    budget = allowed_wrong(len(scored), promise.target)
    pool, plan = scored.order, StrikesPlan(budget, len(scored), 0, 0, len(scored) - budget)
    pilot = 0 if is_confirmed(scored) else pilot_size(scored)
    if is_worth_waiting(len(scored), pilot, budget, delta, promise.audit_items):
        if pilot:
            yield history.ask("pilot", pilot_items(scored, pilot, is_even=False))
        pool = history.unknown()
        random = scored.generator("plan")
        plan = plan_strikes(history.curve(), scored.rank[pool], scored.codes[pool], budget, delta, random)
    before = np.flatnonzero(history.is_known)
    stretch, behind = pool[: plan.stretch], pool[plan.stretch :]
    sample = history.draw(stretch, plan.sample)
    accepted = sample[:0]
    if len(sample):
        yield history.ask("certify", np.r_[sample, behind[::-1]], Draw(sample, stretch))
        stretch = history.by_doubt(stretch, history.curve_of(np.r_[before, behind]))
        accepted = stretch[: _end(history.is_wrong(stretch), plan.strikes)]
    if (~history.is_known[accepted]).sum() < budget:  # so many may be kept whatever they are
        accepted = sample[:0]
    kept = accepted if len(accepted) else history.unknown()[:budget]
    is_asked = ~history.is_known
    is_asked[kept] = False
    if is_asked.any():
        asked = history.by_doubt(np.flatnonzero(is_asked))[::-1]
        yield history.ask("escalate", asked, is_at_once=not history.rounds)
    drawn, wrong = np.intersect1d(sample, accepted), history.wrong(sample)
    certificate = Certificate(
        items=len(scored),
        allowed_wrong=budget,
        pilot=len(before),
        stretch=len(stretch) if len(sample) else 0,
        sample=len(sample),
        sample_wrong=wrong,
        strikes=plan.strikes,
        prefix=len(accepted),
        prefix_drawn=len(drawn),
        prefix_wrong=history.wrong(drawn),
        agreement=_agreement(history, before, behind, stretch, sample),
        rounds=history.rounds,
    )
    return Settled(~history.is_known, certificate)


def _end(is_strike: BoolArray, strikes: int) -> int:
    """Where the next strike would be one too many; how many items there are, where none is."""
    places = np.flatnonzero(is_strike)
    return int(places[strikes]) if len(places) > strikes else len(is_strike)


def _agreement(
    history: History, before: IntArray, behind: IntArray, stretch: IntArray, sample: IntArray
) -> float | None:
    """Of the engine with Claude over all items, as the sample has it; what was asked besides is known."""
    if not len(sample):
        return None
    wrong = history.wrong(before) + history.wrong(behind) + history.wrong(sample) * len(stretch) / len(sample)
    return 1 - wrong / len(history.scored)
