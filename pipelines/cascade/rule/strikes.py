"""What to test, fixed before the certifying sample is drawn: how many items to draw of the pool, and how many strikes.

Of the pool, which is all but the pilot, a uniform sample is asked. A wrong item in it is a strike, and is put right.
Then items are taken off the pool, one after another, until it holds no more than ``strikes``; what is left is accepted.
Which comes off next may follow from all labels of the pilot and of the items taken off before, and from who of these
was drawn; it does not follow from who was drawn among those that are left (see `peeling`).

Why more than B = ``budget`` wrong answers remain with a chance of delta at most, whatever is wrong and in what order:
1. n = ``sample``, q = ``strikes``, the pilot and the pool are fixed before; given them, the sample is uniform.
2. Think of all items coming off, to the last. Each was drawn or was not, and one chosen without looking at that is as
   likely drawn as any other that is left. So along the order in which they come off, whoever chooses it, those drawn
   lie as they would along one fixed beforehand, and so they do among the wrong items, which are what they are.
3. Remaining means wrong, accepted and not drawn. Look at the B + 1 + q wrong items that come off last (where there are
   no more than B + q, take in any others to make it so many: see 6).
4. Were q or fewer of them drawn, B + 1 or more are not: the bad event. Were q + 1 or more drawn, the pool holds too
   many strikes until one of them has come off; no other wrong items are left by then, and B of them at most not drawn.
5. How many of B + 1 + q such items a uniform sample holds is, by 2, hypergeometric(pool, B + 1 + q, n): the chance of q
   or fewer is exactly `lower_tail`, and q is the largest number for which that is at most delta.
6. With items taken in, the bad event only grows: B + 1 wrong ones not drawn, and no more than q drawn, lie among those
   B + 1 + q all the more. So nothing is assumed of how many are wrong.
There is one test and no chain of them, so nothing is lost to the number of places where the pool may end, and every
strike counts as it falls. Assumed: the sample is uniform, and each item has one label, which asking does not change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pipelines.cascade.rule.bounds import lower_tail
from pipelines.cascade.rule.doubt import Doubt, FloatArray, IntArray

_CURVES = 32  # posterior curves
_RUNS_PER_CURVE = 4
_PLACES = 120  # at which a curve's wrong items are counted
_SAMPLES = 80  # sizes that are looked at, up to nearly the whole pool
_LARGEST_SAMPLE = 0.7  # of the pool; where more is needed, asking all but the budget is as cheap
# Of the pool: of samples that cost about as much on average, the smallest is taken, since an engine that is good enough
# needs nothing asked but the sample.
_ABOUT_AS_MUCH = 0.002


@dataclass(frozen=True)
class StrikesPlan:
    """How many to draw, and when to stop; ``sample`` 0: nothing can be certified, and the budget's worth is kept."""

    sample: int
    strikes: int
    asked: float  # of the pool, on average


def can_certify(pool: int, budget: int, delta: float) -> bool:
    """Whether any sample short of nearly the whole pool can show that no more than ``budget`` of it are wrong."""
    if pool <= budget:
        return False
    return math.log(delta) / math.log1p(-min((budget + 1) / pool, 1 - 1e-9)) <= _LARGEST_SAMPLE * pool


def most_strikes(pool: int, budget: int, sample: int, delta: float) -> int | None:
    """How many strikes may be accepted; None where not even a clean sample shows enough.

    The tail rises with the number of strikes: among more wrong items, those not drawn are the sooner too many.
    """
    if not _holds(0, pool, budget, sample, delta):
        return None
    low, high = 0, 1
    while _holds(high, pool, budget, sample, delta):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _holds(middle, pool, budget, sample, delta) else (low, middle)
    return low


def least_sample(pool: int, budget: int, strikes: int, most: int, delta: float) -> int:
    """The smallest sample that may have so many strikes, if one of ``most`` items may."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _holds(strikes, pool, budget, middle, delta) else (middle, high)
    return high


def _holds(strikes: int, pool: int, budget: int, sample: int, delta: float) -> bool:
    looked_at = budget + 1 + strikes
    return looked_at <= pool and lower_tail(strikes, items=pool, wrong=looked_at, drawn=sample) <= delta


def plan_strikes(
    doubts: Sequence[Doubt],
    rank: FloatArray,
    answer: IntArray,
    budget: int,
    delta: float,
    random: np.random.Generator,
) -> StrikesPlan:
    """The plan of least expected cost, over the curves that are thought likely and the luck of the sample.

    Args:
        doubts: what is thought likely, each as likely as the others.
        rank: of the pool's items, in order of doubt.
        answer: theirs.
        budget: wrong answers that may remain in the pool.
        delta: the chance allowed that more remain.
        random: of the simulations.
    """
    pool = len(rank)
    nothing = StrikesPlan(0, 0, pool - budget)
    if not can_certify(pool, budget, delta):
        return nothing
    samples = np.unique(np.geomspace(1, max(0.9 * pool, 1), _SAMPLES).astype(np.int64))
    strikes = _about_most_strikes(pool, samples, budget, delta)
    samples, strikes = samples[strikes >= 0], strikes[strikes >= 0]
    if not len(samples):
        return nothing
    cost = _costs(samples, strikes, *_wrong_up_to(doubts, rank, answer, random), random)
    if cost.min() >= pool - budget:
        return nothing
    best = int(np.flatnonzero(cost <= cost.min() + _ABOUT_AS_MUCH * pool)[0])
    drawn = int(samples[best])
    most = most_strikes(pool, budget, drawn, delta)
    if most is None:
        return nothing
    return StrikesPlan(least_sample(pool, budget, most, drawn, delta), most, float(cost[best]))


def _about_most_strikes(pool: int, sample: IntArray, budget: int, delta: float) -> FloatArray:
    """As `most_strikes`, by a Cornish-Fisher expansion: near enough to plan with, and quick on whole arrays; -1: None.

    The number drawn before the (budget + 1)-th that is not is negative hypergeometric.
    """
    z, left = NormalDist().inv_cdf(delta), pool - sample + 1.0
    mean = (budget + 1) * sample / left
    variance = mean * (pool + 1) * np.maximum(pool - sample - budget, 0) / (left * (left + 1))
    skew = (1 + sample / pool) / np.sqrt((budget + 1) * sample / pool)
    strikes = np.floor(mean + np.sqrt(variance) * (z + skew * (z * z - 1) / 6) - 0.5)
    is_clean_enough = sample * np.log1p(-min((budget + 1) / pool, 1 - 1e-12)) <= math.log(delta)
    return np.where(strikes >= 1, strikes, np.where(is_clean_enough, 0.0, -1.0))


def _wrong_up_to(
    doubts: Sequence[Doubt], rank: FloatArray, answer: IntArray, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Places of the pool, and of shape [curves, places] how many wrong items each curve expects up to there."""
    places = np.unique(np.linspace(1, len(rank), _PLACES).astype(np.int64))
    starts = np.r_[0, places[:-1]]
    curves = [doubts[curve % len(doubts)].draw(random) for curve in range(_CURVES)]
    steps = [np.add.reduceat(curve.probability(rank, answer), starts) for curve in curves]
    wrong = np.cumsum(steps, axis=1)
    return np.r_[0.0, places], np.column_stack([np.zeros(_CURVES), wrong])


def _costs(
    sample: IntArray, strikes: FloatArray, places: FloatArray, wrong: FloatArray, random: np.random.Generator
) -> FloatArray:
    """Mean items asked with each sample."""
    pool = places[-1]
    rate, runs = sample / pool, _CURVES * _RUNS_PER_CURVE
    spread = np.sqrt(strikes + 1) / rate
    cost = np.zeros(len(sample))
    for run, order in enumerate(random.permutation(runs)):
        luck = NormalDist().inv_cdf((order + 0.5) / runs)
        passed = np.maximum((strikes + 1) / rate + spread * luck, 0)  # wrong items up to the last strike
        end = np.interp(passed, wrong[run % _CURVES], places)
        cost += sample + (1 - rate) * (pool - end)
    mean: FloatArray = cost / runs
    return mean
