"""The pool and its strikes keep their promise exactly: every draw is tried, for every way to be wrong."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from pipelines.cascade.rule import strikes as module
from pipelines.cascade.rule.doubt import Doubt, Seen
from pipelines.cascade.rule.strikes import StrikesPlan, can_certify, least_sample, most_strikes, plan_strikes
from tests.cascade.trials import most_misses


def stays_wrong(is_wrong: np.ndarray, is_drawn: np.ndarray, strikes: int) -> np.ndarray:
    """Of each draw: wrong ones that nobody asked about, up to the strike that is one too many."""
    struck = np.cumsum(is_drawn & is_wrong, axis=1)
    return (~is_drawn & is_wrong & (struck <= strikes)).sum(axis=1)


def worst_miss(pool: int, budget: int, sample: int, strikes: int) -> Fraction:
    """The largest share of samples that leaves more wrong than may stay, over all ways to be wrong."""
    draws = np.array(list(itertools.combinations(range(pool), sample)))
    is_drawn = np.zeros((len(draws), pool), np.bool_)
    np.put_along_axis(is_drawn, draws, True, axis=1)
    missed = [
        int((stays_wrong(np.array(is_wrong), is_drawn, strikes) > budget).sum())
        for is_wrong in itertools.product((False, True), repeat=pool)
    ]
    return Fraction(max(missed), len(draws))


@pytest.mark.parametrize(
    ("pool", "budget", "sample", "delta"), [(9, 2, 4, 0.3), (9, 1, 6, 0.3), (8, 2, 5, 0.5), (10, 3, 4, 0.2)]
)
def test_no_population_is_missed_more_often_than_delta(pool: int, budget: int, sample: int, delta: float) -> None:
    strikes = most_strikes(pool, budget, sample, delta)
    assert strikes is not None
    assert 0 < worst_miss(pool, budget, sample, strikes) <= Fraction(repr(delta))
    assert worst_miss(pool, budget, sample, strikes + 1) > Fraction(repr(delta))  # not one more may be allowed


def test_a_sample_that_shows_too_little_allows_nothing() -> None:
    assert most_strikes(9, 1, 2, 0.3) is None
    assert most_strikes(1000, 100, 20, 0.1) is None
    assert most_strikes(1000, 100, 22, 0.1) == 0


@pytest.mark.parametrize(("pool", "budget", "sample"), [(1000, 100, 150), (400, 20, 130), (20_000, 2_000, 900)])
def test_the_smallest_sample_of_as_many_strikes_is_taken(pool: int, budget: int, sample: int) -> None:
    strikes = most_strikes(pool, budget, sample, 0.1)
    assert strikes is not None
    assert strikes > 0
    least = least_sample(pool, budget, strikes, sample, 0.1)
    assert least <= sample
    assert most_strikes(pool, budget, least, 0.1) == strikes
    assert most_strikes(pool, budget, least - 1, 0.1) == strikes - 1


def misses(is_fixed: bool, runs: int) -> int:
    """Runs that leave more than 30 wrong of 400 items, 120 of them wrong, 10 of each of 40 answers, at a delta of 0.2.

    Where the order is not fixed, the answers of which the sample held the most wrong ones come last.
    """
    random, budget = np.random.default_rng(1), 30
    is_wrong, answer = random.permutation(400) < 120, np.arange(400) // 10
    strikes, missed = most_strikes(400, budget, 100, 0.2), 0
    assert strikes is not None
    for _ in range(runs):
        is_drawn = random.permutation(400) < 100
        struck = np.bincount(answer, is_drawn & is_wrong)[answer]
        order = np.arange(400) if is_fixed else np.argsort(struck, kind="stable")
        missed += stays_wrong(is_wrong[order], is_drawn[None, order], strikes)[0] > budget
    return missed


def test_an_order_made_from_the_sample_is_caught() -> None:
    runs = 300
    most = most_misses(runs, 0.2)
    assert misses(is_fixed=True, runs=runs) <= most < misses(is_fixed=False, runs=runs)


def plan(wrong_share: float, pool: int, budget: int) -> StrikesPlan:
    random = np.random.default_rng(3)
    rank = random.random(80)
    doubt = Doubt.fit(Seen.each(rank, np.zeros(80, np.int64), random.random(80) < wrong_share * rank), 1)
    places = (np.arange(pool) + 0.5) / pool
    return plan_strikes([doubt], places, np.zeros(pool, np.int64), budget, 0.1, np.random.default_rng(4))


@pytest.mark.parametrize(("wrong_share", "pool", "budget"), [(0.4, 1000, 100), (0.05, 5000, 500), (1.0, 300, 30)])
def test_a_plan_draws_a_part_and_may_strike_as_often_as_the_exact_test_says(
    wrong_share: float, pool: int, budget: int
) -> None:
    made = plan(wrong_share, pool, budget)
    assert 0 < made.sample < pool
    assert made.strikes == most_strikes(pool, budget, made.sample, 0.1)


def test_a_pool_that_looks_clean_needs_a_small_sample() -> None:
    assert plan(0.0, 5000, 500).sample < 150 < plan(0.4, 5000, 500).sample


def test_the_quick_guess_of_the_strikes_is_near_the_exact_number() -> None:
    for pool, budget, sample in ((1000, 100, 150), (600, 30, 200), (20_000, 2_000, 900), (300, 30, 60)):
        about = module._about_most_strikes(pool, np.array([sample]), budget, 0.1)[0]
        exact = most_strikes(pool, budget, sample, 0.1)
        assert exact is not None
        assert abs(about - exact) <= 1


@pytest.mark.parametrize(
    ("pool", "budget", "can"),
    [(0, 0, False), (10, 10, False), (10, 0, False), (60, 0, False), (600, 1, False), (600, 30, True), (60, 6, True)],
)
def test_what_a_sample_can_certify_at_all(pool: int, budget: int, can: bool) -> None:
    assert can_certify(pool, budget, 0.1) is can
