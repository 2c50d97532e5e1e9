"""What to test, fixed before the certifying sample is drawn: its size, and a chain of prefixes with their credits.

The pool is in order of doubt, least first. A prefix's credit is the number of wrong answers that will be found in it,
and so put right, before it is accepted. A link of the chain claims "at most budget + credit of these are wrong", and is
tested by the exact hypergeometric tail on the sample; the first refusal ends the chain.

Why that is exact at any length: let j be the first link whose claim is false. Accepting j or a later link needs j's
own test to err, and its chance of that is at most delta. The links, their order and credits may be chosen by any means,
here by simulating what each choice would cost, as long as the sample has no part in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pipelines.cascade.rule.bounds import lower_tail
from pipelines.cascade.rule.doubt import BoolArray, Doubt, FloatArray, IntArray

_CURVES = 32  # posterior curves; the median below needs a few dozen
_RUNS_PER_CURVE = 4
_COARSE_LINKS = 60  # in the simulations
_LINKS = 200  # in the chain: no more than half a percent of the pool is lost between two
_SIZES = 14  # tried for the sample, each 1.5 times the one before or thereabouts
_LARGEST_SAMPLE = 0.7  # of the pool; where more is needed, asking all but the budget is as cheap
LEAST_DOUBT = 0.02  # a curve that says less is not believed where the price of finding one more wrong item is guessed


@dataclass(frozen=True)
class Chain:
    """A plan: how many items of the pool to draw, and the links to test in order."""

    pool: int
    budget: int
    sample: int
    prefixes: IntArray  # [links], rising
    credits: IntArray  # [links]

    def accepted(self, drawn: IntArray, wrong: IntArray, delta: float) -> int:
        """How many links hold.

        Args:
            drawn: of the sample, how many lie in each link's prefix.
            wrong: how many of those are wrong.
            delta: the chance allowed that a false claim is accepted.
        """
        for link, (items, credit) in enumerate(zip(self.prefixes.tolist(), self.credits.tolist(), strict=True)):
            limit = self.budget + credit + 1
            if limit > items:
                continue  # no more can be wrong than there are
            if lower_tail(int(wrong[link]), items=items, wrong=limit, drawn=int(drawn[link])) > delta:
                return link
        return len(self.prefixes)


def plan_chain(
    doubt: Doubt, rank: FloatArray, answer: IntArray, budget: int, delta: float, random: np.random.Generator
) -> Chain:
    """The chain of least expected cost, over the curves that the pilot allows and the luck of the sample.

    Args:
        doubt: fitted to the pilot.
        rank: of the pool's items, in order of doubt.
        answer: theirs.
        budget: wrong answers that may remain in the pool.
        delta: the chance allowed that more remain.
        random: of the simulations.
    """
    pool = len(rank)
    if pool <= budget:
        return no_chain(pool, budget)
    coarse = _spaced(min(budget + 1, pool), pool, _COARSE_LINKS)
    curves = [doubt.draw(random) for _ in range(_CURVES)]
    expected = _errors_up_to(coarse, curves, rank, answer)
    edge = np.maximum(doubt.probability(rank[coarse - 1], answer[coarse - 1]), LEAST_DOUBT)
    simulation = _Simulation(coarse, expected, edge, budget, delta, random)
    best_cost, best_size, best_start = float(pool - budget), 0, 0
    for size in _sizes(pool, budget, delta):
        cost, start = simulation.cheapest_start(size)
        if cost < best_cost:
            best_cost, best_size, best_start = cost, size, start
    if best_size == 0:
        return no_chain(pool, budget)
    links = _spaced(int(coarse[best_start]), pool, _LINKS)
    return Chain(pool, budget, best_size, links, _credits(_errors_up_to(links, curves, rank, answer), best_size / pool))


def no_chain(pool: int, budget: int) -> Chain:
    """Nothing is drawn and no more than the budget's worth of items is kept, whether right or wrong."""
    return Chain(pool, budget, 0, np.zeros(0, np.int64), np.zeros(0, np.int64))


def can_certify(pool: int, budget: int, delta: float) -> bool:
    """Whether any sample short of nearly the whole pool can show that no more than ``budget`` of it are wrong."""
    return bool(_sizes(pool, budget, delta))


def _sizes(pool: int, budget: int, delta: float) -> list[int]:
    """Sample sizes worth a thought: the least could certify the whole pool if it came back clean."""
    if pool <= budget:
        return []
    least = math.log(delta) / math.log1p(-min((budget + 1) / pool, 1 - 1e-9))
    largest = int(_LARGEST_SAMPLE * pool)
    if least > largest:
        return []
    sizes: list[int] = np.unique(np.geomspace(max(least, 1), largest, _SIZES).astype(np.int64)).tolist()
    return sizes


def _spaced(first: int, last: int, count: int) -> IntArray:
    return np.unique(np.linspace(first, last, count).astype(np.int64))


def _errors_up_to(links: IntArray, curves: list[Doubt], rank: FloatArray, answer: IntArray) -> FloatArray:
    """Shape [curves, links]: the wrong items that each curve expects in each prefix."""
    starts = np.r_[0, links[:-1]]
    steps = [np.add.reduceat(curve.probability(rank, answer)[: links[-1]], starts) for curve in curves]
    return np.cumsum(steps, axis=1)


def _credits(expected: FloatArray, rate: float) -> IntArray:
    """What a sample at this rate should find in each prefix, by the middle one of the curves."""
    credits: IntArray = np.floor(rate * np.median(expected, axis=0)).astype(np.int64)
    return credits


@dataclass(frozen=True)
class _Simulation:
    """Runs of the whole rule, coarse enough to be thrown by the thousand."""

    links: IntArray
    expected: FloatArray  # [curves, links]
    edge: FloatArray  # [links]: P(wrong) of each prefix's most doubtful item
    budget: int
    delta: float
    random: np.random.Generator

    def cheapest_start(self, size: int) -> tuple[float, int]:
        """Mean items asked with a sample of ``size``, and the link to begin with, where that is least."""
        pool = int(self.links[-1])
        rate = size / pool
        credits = _credits(self.expected, rate)
        drawn, wrong = self._samples(rate)
        passes = _passes(wrong, drawn, self.links, self.budget + credits, self.delta)
        spent = pool - self.links + rate * self.links + np.maximum(credits - wrong, 0) / self.edge
        refused = pool - self.budget  # the budget's worth of items is kept in any case
        cost = np.full(len(wrong), float(refused))  # by run, of a chain that begins one link further on
        means = np.empty(len(self.links))
        for link in range(len(self.links) - 1, -1, -1):
            cost = np.where(passes[:, link], np.minimum(spent[:, link], cost), refused)
            means[link] = cost.mean()
        start = int(means.argmin())
        return float(means[start]), start

    def _samples(self, rate: float) -> tuple[FloatArray, FloatArray]:
        """Shape [runs, links]: items drawn and wrong ones among them."""
        wrong_steps = np.repeat(np.diff(self.expected, axis=1, prepend=0), _RUNS_PER_CURVE, axis=0)
        right_steps = np.diff(self.links, prepend=0) - wrong_steps
        wrong = np.cumsum(self.random.poisson(rate * np.maximum(wrong_steps, 0)), axis=1).astype(np.float64)
        right = np.cumsum(self.random.poisson(rate * np.maximum(right_steps, 0)), axis=1)
        return wrong + right, wrong


def _passes(wrong: FloatArray, drawn: FloatArray, items: IntArray, allowed: IntArray, delta: float) -> BoolArray:
    """The exact test, but by a Cornish-Fisher expansion: near enough to plan with, and quick on whole arrays."""
    drawn = np.clip(drawn, 1, items)
    share = np.minimum((allowed + 1) / items, 1.0)
    left = 1 - drawn / items
    spread = np.sqrt(np.maximum(drawn * share * (1 - share) * left, 1e-12))
    skew = (1 - 2 * share) * (2 * left - 1) / spread
    z = NormalDist().inv_cdf(delta)
    limit = drawn * share + spread * (z + skew * (z * z - 1) / 6)
    clean = drawn * np.log1p(-np.minimum(share, 1 - 1e-12)) <= math.log(delta)
    passes: BoolArray = (allowed >= items) | np.where(wrong == 0, clean, wrong + 0.5 <= limit)
    return passes
