"""The chain of tests keeps its promise exactly: every way to draw the sample is tried, for every way to be wrong."""

import itertools
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from pipelines.cascade.rule.bounds import most_wrong
from pipelines.cascade.rule.chain import Chain, can_certify, plan_chain
from pipelines.cascade.rule.doubt import Doubt, Seen
from tests.cascade.trials import most_misses

POOL, SAMPLE, BUDGET, DELTA = 11, 4, 2, 0.3
PREFIXES = np.array([4, 6, 9, 11])
CREDITS = np.array([0, 0, 1, 2])


def stays_wrong(is_wrong: np.ndarray, drawn: np.ndarray) -> int:
    """Of these items, once a run over the fixed chain is done that drew those."""
    chain = Chain(POOL, BUDGET, SAMPLE, PREFIXES, CREDITS)
    seen = np.zeros(POOL, np.bool_)
    seen[drawn] = True
    in_prefix = np.cumsum(seen)[PREFIXES - 1]
    wrong = np.cumsum(seen & is_wrong)[PREFIXES - 1]
    holds = chain.accepted(in_prefix, wrong, DELTA)
    if not holds:
        return 0
    prefix, credit = int(PREFIXES[holds - 1]), int(CREDITS[holds - 1])
    found = max(int(wrong[holds - 1]), min(credit, int(is_wrong[:prefix].sum())))
    return int(is_wrong[:prefix].sum()) - found


def worst_miss() -> Fraction:
    """The largest share of samples that leaves more wrong than may stay, over all ways to be wrong.

    Which items of a segment between two prefixes are wrong makes no difference, only how many.
    """
    segments = np.diff(PREFIXES, prepend=0).tolist()
    samples = [np.array(drawn) for drawn in itertools.combinations(range(POOL), SAMPLE)]
    worst = Fraction(0)
    for counts in itertools.product(*(range(size + 1) for size in segments)):
        is_wrong = np.concatenate([np.arange(size) < count for size, count in zip(segments, counts, strict=True)])
        if is_wrong.sum() > BUDGET:
            missed = sum(stays_wrong(is_wrong, drawn) > BUDGET for drawn in samples)
            worst = max(worst, Fraction(missed, len(samples)))
    return worst


def test_no_population_is_missed_more_often_than_delta() -> None:
    worst = worst_miss()
    assert 0 < worst <= Fraction(repr(DELTA))


@cache
def limit(seen_wrong: int, items: int, drawn: int) -> int:
    return most_wrong(seen_wrong, items=items, drawn=drawn, delta=0.2)


def misses(has_fixed_credits: bool, runs: int) -> int:
    """Runs that leave more than 5 wrong of 400 items, 120 of them wrong, at a delta of 0.2.

    Where the credits are made from the sample, each link's is what makes it hold, and the cheapest link is taken.
    """
    random, budget, price = np.random.default_rng(1), 5, 4.4
    is_wrong = random.permutation(400) < 120
    prefixes = np.unique(np.linspace(10, 400, 20).astype(np.int64))
    errors, missed = np.cumsum(is_wrong)[prefixes - 1], 0
    for _ in range(runs):
        seen = random.permutation(400) < 100
        drawn, wrong = np.cumsum(seen)[prefixes - 1], np.cumsum(seen & is_wrong)[prefixes - 1]
        if has_fixed_credits:
            credits = (prefixes * 0.3 * 100 / 400).astype(np.int64)
            holds = Chain(400, budget, 100, prefixes, credits).accepted(drawn, wrong, 0.2)
        else:
            limits = [limit(*link) for link in zip(wrong.tolist(), prefixes.tolist(), drawn.tolist(), strict=True)]
            credits, holds = np.maximum(np.array(limits) - budget, 0), len(prefixes)
        if holds:
            best = int((400 - prefixes + price * np.maximum(credits - wrong, 0))[:holds].argmin())
            missed += errors[best] - max(wrong[best], min(credits[best], errors[best])) > budget
    return missed


def test_a_credit_made_from_sampled_labels_is_caught() -> None:
    runs = 600
    most = most_misses(runs, 0.2)
    assert misses(has_fixed_credits=True, runs=runs) <= most
    assert misses(has_fixed_credits=False, runs=runs) > most


def plan(wrong_share: float, pool: int, budget: int) -> Chain:
    random = np.random.default_rng(3)
    rank = random.random(80)
    doubt = Doubt.fit(Seen.each(rank, np.zeros(80, np.int64), random.random(80) < wrong_share * rank), 1)
    places = (np.arange(pool) + 0.5) / pool
    return plan_chain(doubt, places, np.zeros(pool, np.int64), budget, 0.1, np.random.default_rng(4))


@pytest.mark.parametrize(("wrong_share", "pool", "budget"), [(0.4, 1000, 100), (0.05, 5000, 500), (1.0, 300, 30)])
def test_a_chain_rises_to_the_whole_pool_and_its_credits_with_it(wrong_share: float, pool: int, budget: int) -> None:
    chain = plan(wrong_share, pool, budget)
    assert 0 < chain.sample < pool
    assert chain.prefixes[-1] == pool
    assert (np.diff(chain.prefixes) > 0).all()
    assert (np.diff(chain.credits) >= 0).all()
    assert (chain.credits >= 0).all()


def test_a_pool_that_looks_clean_needs_a_small_sample() -> None:
    assert plan(0.0, 5000, 500).sample < 100 < plan(0.4, 5000, 500).sample


@pytest.mark.parametrize(
    ("pool", "budget", "can"),
    [(0, 0, False), (10, 10, False), (10, 0, False), (60, 0, False), (600, 1, False), (600, 30, True), (60, 6, True)],
)
def test_what_a_sample_can_certify_at_all(pool: int, budget: int, can: bool) -> None:
    assert can_certify(pool, budget, 0.1) is can


def test_a_refused_link_ends_the_chain_though_a_later_one_would_hold() -> None:
    chain = Chain(100, 10, 40, np.array([30, 50, 100]), np.array([0, 0, 0]))
    assert chain.accepted(np.array([20, 30, 40]), np.array([0, 0, 0]), 0.1) == 3
    assert chain.accepted(np.array([20, 30, 40]), np.array([0, 9, 9]), 0.1) == 1
    assert chain.accepted(np.array([20, 30, 99]), np.array([0, 9, 0]), 0.1) == 1
