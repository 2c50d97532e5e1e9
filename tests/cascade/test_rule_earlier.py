"""What earlier runs learnt, handed to the next: it may save labels, and can break no promise however wrong it is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.budget import Reached, Spending, next_purchase
from pipelines.cascade.rule.doubt import Seen
from pipelines.cascade.rule.earlier import LEAST_LABELS, MOST_LABELS, MOST_RUNS, count_labels, prior_of
from pipelines.cascade.rule.history import pilot_size
from pipelines.cascade.rule.scored import UNANSWERED, UNASKED, Scored
from pipelines.cascade.rule.target import Ask, Settled, Target, next_step, target_steps
from tests.cascade.populations import Population, hostile_populations
from tests.cascade.trials import most_misses, tries

PROMISE = Target(0.9, 0.9)
ONE_MORE_WRONG_THAN_MAY_BE, ONE_CLASS = hostile_populations()[2], hostile_populations()[8]
NOBODYS = Seen(np.zeros(0), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


def learnt(population: Population, seed: int) -> Seen:
    """What a whole run over the population would hand on."""
    scored = population.scored(seed)
    asks = [ask.items for ask in target_steps(scored, PROMISE, population.truth) if ask.stage != "escalate"]
    return count_labels(scored, population.truth, np.concatenate(asks))


def settle(population: Population, seed: int, *earlier: Seen) -> Settled:
    settled = next_step(replace(population.scored(seed), earlier=earlier), PROMISE, population.truth)
    assert isinstance(settled, Settled)
    return settled


LIES: dict[str, Callable[[Seen], Seen]] = {
    "inverted": lambda true: replace(true, wrong=true.labels - true.wrong),
    "never wrong": lambda true: replace(true, wrong=np.zeros(len(true.labels))),
    "always wrong": lambda true: replace(true, wrong=true.labels),
    "upside down": lambda true: replace(true, rank=1 - true.rank),
}


@tries(300)
@pytest.mark.parametrize("population", [ONE_MORE_WRONG_THAN_MAY_BE, ONE_CLASS], ids=lambda population: population.name)
def test_the_promise_holds_whatever_an_earlier_run_says(population: Population, runs: int) -> None:
    missed, true = 0, learnt(population, seed=10_000)
    told = [lie(true) for lie in LIES.values()]
    assert true.labels.sum() >= LEAST_LABELS
    for seed in range(runs):
        kept = settle(population, seed, told[seed % len(told)]).is_accepted
        missed += population.is_wrong[kept].sum() > allowed_wrong(400, 0.9)
    assert missed <= most_misses(runs, PROMISE.delta)


@tries(100)
def test_the_limit_of_a_budget_holds_whatever_an_earlier_run_says(runs: int) -> None:
    missed, spending = 0, Spending(np.full(400, 0.01), 1.6, 0.9)
    earlier = LIES["inverted"](learnt(ONE_CLASS, seed=10_000))
    for seed in range(runs):
        reached = next_purchase(replace(ONE_CLASS.scored(seed), earlier=(earlier,)), spending, ONE_CLASS.truth)
        assert isinstance(reached, Reached)
        assert reached.wrong_limit is not None
        missed += ONE_CLASS.is_wrong[reached.is_accepted].sum() > reached.wrong_limit
    assert missed <= most_misses(runs, 0.1)


@tries(150)
def test_a_run_of_the_same_kind_saves_labels(runs: int) -> None:
    ties = hostile_populations()[7]  # the answer alone tells where the engine errs
    with_it, without = (
        np.mean([settle(ties, seed, *earlier).is_accepted.sum() for seed in range(runs)])
        for earlier in ([learnt(ties, seed=10_000)], [])
    )
    assert with_it > without


@tries(100)
def test_a_lie_costs_few_labels(runs: int) -> None:
    lie = LIES["always wrong"](learnt(ONE_CLASS, seed=10_000))
    misled, without = (
        np.mean([settle(ONE_CLASS, seed, *earlier).is_accepted.mean() for seed in range(runs)])
        for earlier in ([lie], [])
    )
    assert misled > without - 0.03


def test_labels_are_counted_by_place_and_answer() -> None:
    scored = Scored(np.linspace(1, 0, 40), np.repeat([7, 3], 20), seed=1)
    labels = np.full(40, UNASKED, np.int8)
    labels[[0, 1, 2, 39]] = [0, 1, 0, UNANSWERED]
    seen = count_labels(scored, labels, np.array([0, 1, 2, 20, 39]))
    assert seen.rank.tolist() == pytest.approx([0.025, 0.075, 0.975])
    assert seen.answer.tolist() == [7, 7, 3]
    assert (seen.labels.tolist(), seen.wrong.tolist()) == ([2, 1, 1], [1, 0, 1])
    assert count_labels(scored, labels, np.zeros(0, np.int64)).labels.tolist() == []


def test_answers_that_the_run_does_not_give_are_left_out_and_the_rest_is_numbered_as_its_own() -> None:
    earlier = Seen(np.array([0.1, 0.5, 0.9]), np.array([2, 5, 9]), np.full(3, 40.0), np.array([1.0, 2.0, 3.0]))
    prior = prior_of(Scored(np.zeros(4), np.array([9, 2, 2, 4]), 1, (earlier,)))
    assert prior is not None
    assert (prior.rank.tolist(), prior.answer.tolist()) == ([0.1, 0.9], [0, 2])
    assert (prior.labels.tolist(), prior.wrong.tolist()) == ([40, 40], [1, 3])


def test_an_earlier_run_weighs_no_more_than_so_many_labels() -> None:
    earlier = Seen(
        np.array([0.1, 0.9]), np.zeros(2, np.int64), np.array([30_000.0, 10_000.0]), np.array([0.0, 5_000.0])
    )
    prior = prior_of(Scored(np.zeros(4), np.zeros(4, np.int64), 1, (earlier,)))
    assert prior is not None
    assert prior.labels.tolist() == [0.75 * MOST_LABELS, 0.25 * MOST_LABELS]
    assert prior.wrong.tolist() == [0, 0.125 * MOST_LABELS]


@pytest.mark.parametrize(("labels", "pilot"), [(LEAST_LABELS, 20), (LEAST_LABELS - 1, 40)])
def test_half_a_pilot_checks_what_was_learnt_before(labels: int, pilot: int) -> None:
    earlier = Seen(np.array([0.5]), np.zeros(1, np.int64), np.array([float(labels)]), np.array([1.0]))
    assert pilot_size(Scored(np.zeros(1000), np.zeros(1000, np.int64), 1, (earlier,))) == pilot


def test_nothing_learnt_is_as_no_earlier_run() -> None:
    for population in (ONE_CLASS, hostile_populations()[9]):
        first, second = settle(population, 3), settle(population, 3, NOBODYS)
        assert (first.is_accepted == second.is_accepted).all()


def test_labels_weigh_less_with_each_later_run() -> None:
    runs = tuple(Seen(np.array([0.5]), np.array([0]), np.array([40.0]), np.array([wrong])) for wrong in (4.0, 8.0))
    prior = prior_of(Scored(np.zeros(4), np.zeros(4, np.int64), 1, runs))
    assert prior is not None
    assert prior.labels.tolist() == pytest.approx([40, 28])
    assert prior.wrong.tolist() == pytest.approx([4, 5.6])
    many = Scored(np.zeros(4), np.zeros(4, np.int64), 1, runs[:1] * (MOST_RUNS + 3))
    assert len(prior_of(many).labels) == MOST_RUNS  # type: ignore[union-attr]  # of so many labels, there is one


@tries(300)
def test_the_promise_holds_though_two_runs_tell_the_same_lie(runs: int) -> None:
    true, missed = learnt(ONE_MORE_WRONG_THAN_MAY_BE, seed=10_000), 0
    told = [lie(true) for lie in LIES.values()]
    for seed in range(runs):
        lie = told[seed % len(told)]
        settled = settle(ONE_MORE_WRONG_THAN_MAY_BE, seed, lie, lie)
        missed += ONE_MORE_WRONG_THAN_MAY_BE.is_wrong[settled.is_accepted].sum() > allowed_wrong(400, 0.9)
    assert missed <= most_misses(runs, PROMISE.delta)


@pytest.mark.parametrize("before", [1, 2])
def test_a_killed_run_with_a_prior_asks_the_same_items(before: int) -> None:
    scored = replace(ONE_CLASS.scored(5), earlier=tuple(learnt(ONE_CLASS, 10_000 + run) for run in range(before)))
    labels = np.full(400, UNASKED, np.int8)
    while isinstance(step := next_step(scored, PROMISE, labels), Ask):
        partly = labels.copy()
        half = step.items[: len(step.items) // 2]
        partly[half] = ONE_CLASS.truth[half]
        again = next_step(replace(scored), PROMISE, partly)
        assert isinstance(again, Ask)
        assert again.items.tolist() == step.items.tolist()
        labels[step.items] = ONE_CLASS.truth[step.items]
    assert (step.is_accepted == (labels == UNASKED)).all()
