"""One promise over a term, the runs of a job one after another: for files too small to certify one by one.

    plan ──> certify, and ask what is beyond hope ──> count the run ──> accept ──> escalate

The promise: with probability `assurance`, over the drawing of all the term's runs, at no time does more than a share of
1 - `target` of the items counted so far keep an answer other than Claude's. Why it holds: see `strike_limits`. What a
run needs of the others is two numbers, the term's items and its strikes, at the moment when it is counted; how it was
planned, and on whose labels, steers cost alone. There are two message batches at most; one where all that was drawn
from may stand, or nothing may yet: a term begins with runs that are asked in full, and saves up what may be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.doubt import BoolArray, IntArray
from pipelines.cascade.rule.earlier import prior_of
from pipelines.cascade.rule.history import Ask, Draw, History
from pipelines.cascade.rule.scored import Labels, Scored
from pipelines.cascade.rule.strike_limits import NOTHING, Counted, Standing, strike_limits
from pipelines.cascade.rule.target import SPENT, Certificate, Settled, Target

# The rate is this over the cube root of the budget: asking costs in proportion to it, and what it leaves uncertain, to
# one over its root. Two thirds of it, or half as much again, ask one to five points more of the sample tickets.
_RATE, _LARGEST_RATE = 1.4, 0.5
# Runs that are to share the strikes that are left; all at once would leave the next runs none. Of two to five, two asks
# as much in more message batches, and five a little more.
_PACE = 3


@dataclass(frozen=True)
class Term:
    """What is promised of a term, and how many items it has at most."""

    promise: Target
    items: int

    @property
    def budget(self) -> int:
        """Wrong answers that may stay by its end."""
        return allowed_wrong(self.items, self.promise.target)

    @property
    def rate(self) -> float:
        """The chance that an item which is looked at is asked."""
        return min(_RATE / math.cbrt(max(self.budget, 1)), _LARGEST_RATE)

    def limit(self, items: int) -> int:
        """Strikes that it may have once so many items are counted; `NOTHING`: no answer may be kept yet."""
        budget = allowed_wrong(items, self.promise.target)
        return int(strike_limits(self.rate, self.budget, SPENT * self.promise.delta)[budget])


def count_run(term: Term, before: Standing, items: int, is_strike: BoolArray) -> Counted:
    """Look at a run's items until the term has one strike too many, or there are no more.

    Args:
        term: with room for the run.
        before: as the run last counted left it.
        items: of the run.
        is_strike: of its stretch, in the order in which the items are looked at.

    Raises:
        ValueError: the term has no room for so many items.
    """
    if before.items + items > term.items:
        raise ValueError(f"a term of {term.items:,} items has no room for {items:,} after {before.items:,}")
    limit = term.limit(before.items + items)
    left, places = limit - before.strikes, np.flatnonzero(is_strike)
    if left < 0:
        prefix, strikes = 0, 0
    elif len(places) > left:
        prefix, strikes = int(places[left]), left + 1
    else:
        prefix, strikes = len(is_strike), len(places)
    return Counted(before, Standing(before.items + items, before.strikes + strikes), limit, prefix)


def term_steps(
    scored: Scored, term: Term, planned: Standing, count: Callable[[BoolArray], Counted], labels: Labels
) -> Generator[Ask, None, Settled]:
    """A run of a term from its start; see `history` for how to walk it.

    Args:
        scored: the run's items.
        term: has room for them.
        planned: the term as it stood when the run was begun, written down before its first label was bought.
        count: counts the run, given the strikes of its stretch as `count_run` is; called again, it says the same.
        labels: of each item, UNASKED where unknown.
    """
    history = History(scored, labels)
    stretch, behind = _plan(history, term, planned)
    drawn = stretch[scored.chance("certify")[stretch] < np.uint64(term.rate * 2.0**64)]
    if len(stretch):
        draw = Draw(drawn, stretch) if len(drawn) else None
        if len(drawn) + len(behind):
            yield history.ask("certify", np.r_[drawn, behind[::-1]], draw)
        stretch = history.by_doubt(stretch, history.curve_of(behind))
        counted = count(history.is_wrong(stretch))
    else:
        if len(scored):
            yield history.ask("escalate", behind[::-1], is_at_once=True)
        counted = count(np.zeros(0, np.bool_))
    accepted = stretch[: counted.prefix]
    asked = history.besides(accepted)
    if len(asked):
        yield history.ask("escalate", asked)
    looked_at, wrong = np.intersect1d(drawn, accepted), history.wrong(drawn)
    certificate = Certificate(
        items=len(scored),
        allowed_wrong=allowed_wrong(counted.after.items, term.promise.target),
        pilot=0,
        stretch=len(stretch),
        sample=len(drawn),
        sample_wrong=wrong,
        strikes=counted.limit,
        prefix=len(accepted),
        prefix_drawn=len(looked_at),
        prefix_wrong=history.wrong(looked_at),
        agreement=_agreement(history, behind, stretch, drawn),
        rounds=history.rounds,
    )
    return Settled(~history.is_known, certificate, counted)


def _plan(history: History, term: Term, planned: Standing) -> tuple[IntArray, IntArray]:
    """Items that may stand, and those that are asked whatever comes, each least doubtful first.

    The former are as many as are thought to hold a fair part of the strikes that are left; none where the labels of
    earlier runs have taught no curve yet.
    """
    scored = history.scored
    items, left = history.unknown(), NOTHING
    if prior_of(scored) is not None:
        left = term.limit(min(planned.items + len(scored), term.items)) - planned.strikes
    if left < 0:
        return items[:0], items
    strikes = term.rate * np.cumsum(history.doubts(items))
    end = int(np.searchsorted(strikes, (left + 1) / _PACE, "right"))
    return items[:end], items[end:]


def _agreement(history: History, behind: IntArray, stretch: IntArray, drawn: IntArray) -> float | None:
    """Of the engine with Claude over all items, as the run's labels have it."""
    if len(stretch) and not len(drawn):
        return None
    stays = history.wrong(drawn) * len(stretch) / len(drawn) if len(stretch) else 0.0
    return 1 - (history.wrong(behind) + stays) / max(len(history.scored), 1)
