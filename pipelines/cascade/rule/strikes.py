"""What to test, fixed before the certifying sample is drawn: among how many items, how large, and how many strikes.

The pool is in order of doubt, least first. Its ``stretch`` least doubtful items are those that may be accepted; what
lies behind is asked. Of the stretch a uniform sample is asked too. A wrong item in it is a strike, and is put right.
Accepted is the longest run of items from the surest on that holds no more than ``strikes`` of them.

Why more than B = ``budget`` wrong answers remain with a chance of delta at most, whatever is wrong and in what order:
1. Given the pilot, the stretch, n = ``sample`` and q = ``strikes`` are fixed; the sample is uniform over the stretch.
2. So, too, given the labels behind the stretch: they say nothing of who was drawn in it, and may set its order.
3. Remaining means wrong, accepted and not drawn. Look at the first B + 1 + q wrong items of the stretch, in its order
   (where there are no more than B + q, take in any items of the stretch to make it so many: see 6).
4. Were q or fewer of them drawn, B + 1 or more are not: the bad event. Were q + 1 or more drawn, the run of accepted
   items ends before the (q+1)-th drawn one, and so holds at most B wrong ones that were not drawn.
5. How many of B + 1 + q fixed items a uniform sample holds is hypergeometric(stretch, B + 1 + q, n): the chance of q
   or fewer is exactly `lower_tail`, and q is the largest number for which that is at most delta.
6. With items taken in, the bad event only grows: B + 1 wrong ones not drawn, before q + 1 drawn, lie in the first
   B + 1 + q all the more. So nothing is assumed of how many are wrong.
There is one test and no chain of them, so nothing is lost to the number of places where the run may end, and every
strike counts as it falls. Assumed: the sample is uniform, and each item has one label, which asking does not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pipelines.cascade.rule.bounds import lower_tail
from pipelines.cascade.rule.doubt import Doubt, FloatArray, IntArray

_CURVES = 32  # posterior curves
_RUNS_PER_CURVE = 4
_PLACES = 120  # at which a curve's wrong items are counted
_STRETCHES = 40
_RATES = np.geomspace(0.002, 0.9, 36)  # shares of the stretch to draw
_LARGEST_SAMPLE = 0.7  # of the pool; where more is needed, asking all but the budget is as cheap
_WORTH_A_ROUND = 0.004  # of the pool: for less, the shorter stretch is taken, and fewer wait for a third batch


@dataclass(frozen=True)
class StrikesPlan:
    """Whom to draw, and when to stop; ``sample`` 0: nothing can be certified, and the budget's worth is kept."""

    budget: int
    stretch: int
    sample: int
    strikes: int
    asked: float  # of the pool, on average


def can_certify(pool: int, budget: int, delta: float) -> bool:
    """Whether any sample short of nearly the whole pool can show that no more than ``budget`` of it are wrong."""
    if pool <= budget:
        return False
    return math.log(delta) / math.log1p(-min((budget + 1) / pool, 1 - 1e-9)) <= _LARGEST_SAMPLE * pool


def most_strikes(stretch: int, budget: int, sample: int, delta: float) -> int | None:
    """How many strikes may be accepted; None where not even a clean sample shows enough.

    The tail rises with the number of strikes: among more wrong items, those not drawn are the sooner too many.
    """
    if not _holds(0, stretch, budget, sample, delta):
        return None
    low, high = 0, 1
    while _holds(high, stretch, budget, sample, delta):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _holds(middle, stretch, budget, sample, delta) else (low, middle)
    return low


def least_sample(stretch: int, budget: int, strikes: int, most: int, delta: float) -> int:
    """The smallest sample that may have so many strikes, if one of ``most`` items may."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _holds(strikes, stretch, budget, middle, delta) else (middle, high)
    return high


def _holds(strikes: int, stretch: int, budget: int, sample: int, delta: float) -> bool:
    looked_at = budget + 1 + strikes
    return looked_at <= stretch and lower_tail(strikes, items=stretch, wrong=looked_at, drawn=sample) <= delta


def plan_strikes(
    doubt: Doubt, rank: FloatArray, answer: IntArray, budget: int, delta: float, random: np.random.Generator
) -> StrikesPlan:
    """The plan of least expected cost, over the curves that the pilot allows and the luck of the sample.

    Args:
        doubt: fitted to the pilot.
        rank: of the pool's items, in order of doubt.
        answer: theirs.
        budget: wrong answers that may remain in the pool.
        delta: the chance allowed that more remain.
        random: of the simulations.
    """
    pool = len(rank)
    nothing = StrikesPlan(budget, pool, 0, 0, pool - budget)
    if not can_certify(pool, budget, delta):
        return nothing
    stretch, sample, strikes = _choices(pool, budget, delta)
    if not len(stretch):
        return nothing
    cost = _costs(stretch, sample, strikes, *_wrong_up_to(doubt, rank, answer, random), random)
    cost = np.minimum(cost, pool - budget)
    near = np.flatnonzero(cost <= cost.min() + _WORTH_A_ROUND * pool)
    best = int(near[np.lexsort((cost[near], stretch[near]))[0]])
    if cost.min() >= pool - budget:
        return nothing
    length, drawn = int(stretch[best]), int(sample[best])
    most = most_strikes(length, budget, drawn, delta)
    if most is None:
        return nothing
    return StrikesPlan(budget, length, least_sample(length, budget, most, drawn, delta), most, float(cost[best]))


def _choices(pool: int, budget: int, delta: float) -> tuple[IntArray, IntArray, FloatArray]:
    """Stretches, samples of them, and about how many strikes these may have; only such as may have any or none."""
    lengths = np.unique(np.linspace(min(budget + 1, pool), pool, _STRETCHES).astype(np.int64))
    stretch, rate = np.repeat(lengths, len(_RATES)), np.tile(_RATES, len(lengths))
    sample = np.maximum((rate * stretch).astype(np.int64), 1)
    strikes = _about_most_strikes(stretch, sample, budget, delta)
    is_possible = strikes >= 0
    return stretch[is_possible], sample[is_possible], strikes[is_possible]


def _about_most_strikes(stretch: IntArray, sample: IntArray, budget: int, delta: float) -> FloatArray:
    """As `most_strikes`, by a Cornish-Fisher expansion: near enough to plan with, and quick on whole arrays; -1: None.

    The number drawn before the (budget + 1)-th that is not is negative hypergeometric.
    """
    z, left = NormalDist().inv_cdf(delta), stretch - sample + 1.0
    mean = (budget + 1) * sample / left
    variance = mean * (stretch + 1) * np.maximum(stretch - sample - budget, 0) / (left * (left + 1))
    skew = (1 + sample / stretch) / np.sqrt((budget + 1) * sample / stretch)
    strikes = np.floor(mean + np.sqrt(variance) * (z + skew * (z * z - 1) / 6) - 0.5)
    is_clean_enough = sample * np.log1p(-np.minimum((budget + 1) / stretch, 1 - 1e-12)) <= math.log(delta)
    return np.where(strikes >= 1, strikes, np.where(is_clean_enough, 0.0, -1.0))


def _wrong_up_to(
    doubt: Doubt, rank: FloatArray, answer: IntArray, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Places of the pool, and of shape [curves, places] how many wrong items each curve expects up to there."""
    places = np.unique(np.linspace(1, len(rank), _PLACES).astype(np.int64))
    starts = np.r_[0, places[:-1]]
    steps = [np.add.reduceat(doubt.draw(random).probability(rank, answer), starts) for _ in range(_CURVES)]
    wrong = np.cumsum(steps, axis=1)
    return np.r_[0.0, places], np.column_stack([np.zeros(_CURVES), wrong])


def _costs(
    stretch: IntArray,
    sample: IntArray,
    strikes: FloatArray,
    places: FloatArray,
    wrong: FloatArray,
    random: np.random.Generator,
) -> FloatArray:
    """Mean items asked of each choice."""
    pool, rate = places[-1], sample / stretch
    runs = _CURVES * _RUNS_PER_CURVE
    spread = np.sqrt(strikes + 1) / rate
    cost = np.zeros(len(stretch))
    for run, order in enumerate(random.permutation(runs)):
        luck = NormalDist().inv_cdf((order + 0.5) / runs)
        passed = np.maximum((strikes + 1) / rate + spread * luck, 0)  # wrong items up to the last strike
        end = np.interp(passed, wrong[run % _CURVES], places)
        cost += (pool - stretch) + sample + (1 - rate) * np.maximum(stretch - end, 0)
    mean: FloatArray = cost / runs
    return mean
