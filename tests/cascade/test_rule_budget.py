"""A budget without a target: what is bought, that it is never more than paid for, and the limit that is reported."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cascade.rule.budget import Reached, Spending, next_purchase, when_stopped
from pipelines.cascade.rule.scored import UNASKED, Scored
from pipelines.cascade.rule.target import Ask, Target, next_step
from tests.cascade.populations import Population, hostile_populations
from tests.cascade.trials import most_misses, tries

RUNS, ASSURANCE = 60, 0.9
NO_SAMPLE = "the budget did not pay for a uniform sample of the items that were kept"


def finish(scored: Scored, spending: Spending, truth: np.ndarray) -> tuple[Reached, list[Ask]]:
    labels, asks = np.full(len(scored), UNASKED, np.int8), []
    while isinstance(step := next_purchase(scored, spending, labels), Ask):
        labels[step.items] = truth[step.items]
        asks.append(step)
    assert (step.is_accepted == (labels == UNASKED)).all()
    return step, asks


@tries(RUNS)
@pytest.mark.parametrize("population", hostile_populations(), ids=lambda population: population.name)
def test_the_reported_limit_holds_on_hostile_items(population: Population, runs: int) -> None:
    items, missed = len(population.truth), 0
    for seed in range(runs):
        spending = Spending(np.full(items, 0.01), items * 0.01 * 0.4, ASSURANCE)
        reached = next_purchase(population.scored(seed), spending, population.truth)
        assert isinstance(reached, Reached)
        assert reached.wrong_limit is not None
        assert reached.agreement_lower == 1 - reached.wrong_limit / items
        missed += population.is_wrong[reached.is_accepted].sum() > reached.wrong_limit
    assert missed <= most_misses(runs, 1 - ASSURANCE)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**64 - 1), st.floats(0, 1.2), st.floats(0, 3))
def test_no_more_is_planned_than_is_paid_for(items: int, seed: int, share: float, spread: float) -> None:
    random = np.random.default_rng(seed)
    cost = random.lognormal(-7, spread, items)
    scored = Scored(random.random(items), random.integers(0, 3, items), seed)
    spending = Spending(cost, share * float(cost.sum()), ASSURANCE)
    reached, asks = finish(scored, spending, (random.random(items) < 0.3).astype(np.int8))
    asked = np.concatenate([np.zeros(0, np.int64), *(ask.items for ask in asks)])
    assert len(np.unique(asked)) == len(asked) == items - reached.is_accepted.sum()
    assert cost[asked].sum() <= spending.budget_usd * (1 + 1e-9)


def test_items_whose_answer_could_not_be_read_are_worth_the_most() -> None:
    random = np.random.default_rng(3)
    score, is_answered = random.random(400), random.random(400) > 0.05
    score[~is_answered] = 1  # even if they seem the surest
    scored = Scored(score, random.integers(0, 2, 400), 3, is_answered=is_answered)
    truth = np.where(is_answered, random.random(400) < 0.5 * (1 - score), 1).astype(np.int8)
    reached, _ = finish(scored, Spending(np.full(400, 0.01), 1.0, ASSURANCE), truth)
    assert not reached.is_accepted[~is_answered].any()


def test_equal_prices_are_spent_to_the_last_item() -> None:
    population = hostile_populations()[8]
    reached, asks = finish(population.scored(1), Spending(np.full(400, 0.01), 1.0, ASSURANCE), population.truth)
    assert sum(len(ask.items) for ask in asks) == 100
    assert [ask.stage for ask in asks] == ["pilot", "certify", "escalate"]
    assert reached.rounds == 3


def test_money_goes_where_most_wrong_answers_per_dollar_are() -> None:
    population = hostile_populations()[8]
    cost = np.where(np.arange(400) % 2, 0.01, 0.1)
    _, asks = finish(population.scored(1), Spending(cost, 4.0, ASSURANCE), population.truth)
    bought = asks[-1].items
    assert (cost[bought] == 0.01).mean() > 0.8
    cheap = bought[cost[bought] == 0.01]
    assert population.confidence[cheap].mean() < 0.45


@pytest.mark.parametrize("budget_usd", [0.0, 0.009])
def test_no_money_asks_nothing_and_says_so(budget_usd: float) -> None:
    population = hostile_populations()[0]
    reached, asks = finish(population.scored(1), Spending(np.full(400, 0.01), budget_usd, ASSURANCE), population.truth)
    assert asks == []
    assert reached.is_accepted.all()
    assert (reached.wrong_limit, reached.agreement_lower, reached.reason) == (None, None, NO_SAMPLE)


def test_money_for_all_leaves_nothing_to_doubt() -> None:
    population = hostile_populations()[0]
    reached, _ = finish(population.scored(1), Spending(np.full(400, 0.01), 5.0, ASSURANCE), population.truth)
    assert not reached.is_accepted.any()
    assert reached.agreement_lower == 1.0


def test_no_items_reach_everything() -> None:
    nothing = Scored(np.zeros(0), np.zeros(0, np.int64), 1)
    reached, asks = finish(nothing, Spending(np.zeros(0), 1.0, ASSURANCE), np.zeros(0, np.int8))
    assert (asks, reached.agreement_lower) == ([], 1.0)


@tries(RUNS)
@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_run_with_a_target_that_was_stopped_says_what_it_reached(rounds: int, runs: int) -> None:
    population, promise, missed = hostile_populations()[8], Target(0.9, ASSURANCE), 0
    for seed in range(runs if rounds else 1):
        scored, labels = population.scored(seed), np.full(400, UNASKED, np.int8)
        for _ in range(rounds):
            step = next_step(scored, promise, labels)
            assert isinstance(step, Ask)
            bought = step.items[:20] if step.stage == "escalate" else step.items
            labels[bought] = population.truth[bought]
        reached = when_stopped(scored, promise, labels)
        assert (reached.is_accepted == (labels == UNASKED)).all()
        if not rounds:
            assert (reached.agreement_lower, reached.reason, reached.rounds) == (None, NO_SAMPLE, rounds)
        else:
            assert reached.wrong_limit is not None
            missed += population.is_wrong[reached.is_accepted].sum() > reached.wrong_limit
    assert missed <= most_misses(runs, 1 - ASSURANCE)


def buy(population: Population, seed: int, paid_share: float) -> tuple[Reached, list[Ask], float]:
    """A run whose items cost a share of their worst case; and what it cost in all."""
    scored, spending = population.scored(seed), Spending(np.full(400, 0.01), 1.0, ASSURANCE)
    labels, asks, paid = np.full(400, UNASKED, np.int8), [], np.full(400, np.nan)
    while isinstance(step := next_purchase(scored, spending, labels, paid), Ask):
        labels[step.items], paid[step.items] = population.truth[step.items], 0.01 * paid_share
        asks.append(step)
    return step, asks, float(np.nansum(paid))


def test_what_the_worst_case_held_back_is_spent_once_more() -> None:
    population = hostile_populations()[8]
    first, asks, spent = buy(population, 1, paid_share=0.4)
    assert [ask.stage for ask in asks] == ["pilot", "certify", "escalate", "escalate"]
    assert (sum(len(ask.items) for ask in asks[:3]), len(asks[3].items)) == (100, 60)
    assert spent == pytest.approx(0.64)
    assert len(np.unique(np.concatenate([ask.items for ask in asks]))) == 160 == (~first.is_accepted).sum()
    assert first.rounds == 4


@pytest.mark.parametrize("paid_share", [0.95, np.nan])
def test_little_or_unknown_money_left_buys_nothing_more(paid_share: float) -> None:
    _, asks, _ = buy(hostile_populations()[8], 1, paid_share)
    assert [ask.stage for ask in asks] == ["pilot", "certify", "escalate"]


@tries(RUNS)
@pytest.mark.parametrize("population", hostile_populations()[:9], ids=lambda population: population.name)
def test_the_reported_limit_holds_after_a_second_purchase(population: Population, runs: int) -> None:
    missed = 0
    for seed in range(runs):
        reached, _, spent = buy(population, seed, paid_share=0.3)
        assert spent <= 1.0
        assert reached.wrong_limit is not None
        missed += population.is_wrong[reached.is_accepted].sum() > reached.wrong_limit
    assert missed <= most_misses(runs, 1 - ASSURANCE)


def test_prices_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError) as raised:
        Spending(np.array([0.01, 0.0]), 1.0, 0.9)
    assert str(raised.value) == "cost_usd must be over 0 for every item"
    with pytest.raises(ValueError) as raised:
        Spending(np.array([0.01]), 1.0, 1.0)
    assert str(raised.value) == "assurance must be between 0 and 1; it is 1.0"
    scored, spending = Scored(np.zeros(3), np.zeros(3, np.int64), 1), Spending(np.array([0.01]), 1.0, 0.9)
    with pytest.raises(ValueError) as raised:
        next_purchase(scored, spending, np.full(3, UNASKED, np.int8))
    assert str(raised.value) == "3 items need as many prices; there are 1"
