"""How many strikes a term of runs may have at each size of its budget, so that its promise holds whenever it is read.

Runs are counted one after another. Each looks at items in an order of its own; an item is asked if its coin, thrown
with one ``rate`` for the whole term, says so. Wrong and asked is a strike, and is put right; wrong and not asked stays.
A run with which the term's budget is B, the wrong answers that may stay, looks on while the term has no more than
``limits[B]`` strikes. The strike that is one too many counts too: were it forgotten, the next run would get it free.

Why more than B ever stay, B as of the run counted then, with a chance of delta at most, whatever is wrong where:
1. Put the term's wrong items in the order in which they are looked at. Which comes next may follow from all that was
   seen before, and from who wants the promise broken; it does not follow from its own coin.
2. So their coins are one sequence of independent ones, each a strike with chance ``rate``, whoever orders the items.
3. The first time that more than B stay, it is the (B+1)-th that does, and it was looked at: up to it there were no more
   than ``limits[B]`` strikes. Later runs only raise B, so no moment is forgotten.
4. That is an event of the coins alone: for some B, no more than ``limits[B]`` strikes before the (B+1)-th that stays.
5. Between two that stay the number of strikes is geometric, so its chance is a sum, made here level by level. The
   limits are the largest with which no more of delta is spent up to any B than in proportion to B.
6. How large the runs are and when the term is left off changes nothing: the limits hold for every B at once.
Assumed: each item has one label, which asking does not change; and whether and when a run is counted does not follow
from what its own sample holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipelines.cascade.rule.doubt import IntArray

NOTHING = -1  # not even a term without a strike may keep an answer
_NEGLIGIBLE = 1e-16  # chance of so many strikes in a row
_ROUNDED_UP = 1 + 1e-9


@dataclass(frozen=True)
class Standing:
    """How far a term is: its items, and their strikes."""

    items: int = 0
    strikes: int = 0


@dataclass(frozen=True)
class Counted:
    """What a run was in its term; ``prefix`` of its items were looked at and may stand, but for those that were asked.

    ``before`` and ``after`` are the term without it and with it.
    """

    before: Standing
    after: Standing
    limit: int
    prefix: int


@lru_cache(maxsize=8)
def strike_limits(rate: float, most: int, delta: float) -> IntArray:
    """The limits for budgets of 0 to ``most`` wrong answers; they never fall.

    Args:
        rate: the chance that an item which is looked at is asked.
        most: the budget of the whole term.
        delta: the chance allowed that more than may stay ever do.
    """
    in_a_row = int(np.log(_NEGLIGIBLE) / np.log(rate)) + 2
    strikes_between = (1 - rate) * rate ** np.arange(in_a_row)
    limits: IntArray = np.full(most + 1, NOTHING, np.int64)
    chance = np.ones(1)  # of each number of strikes before as many stay as this level is of, no limit broken so far
    limit, spent = NOTHING, 0.0
    for budget in range(most + 1):
        chance = np.convolve(chance, strikes_between)
        chance = chance[: int(np.flatnonzero(chance > _NEGLIGIBLE)[-1]) + 1]
        spent += float(chance[: limit + 1].sum())
        chance[: limit + 1] = 0
        while (spent + float(chance[limit + 1])) * _ROUNDED_UP <= delta * (budget + 1) / (most + 1):
            limit += 1
            spent += float(chance[limit])
            chance[limit] = 0
        limits[budget] = limit
    limits.flags.writeable = False
    return limits
