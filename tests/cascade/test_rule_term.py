"""A term of runs keeps its promise whenever it is read: exactly, against any order, and over whole series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.doubt import BoolArray, Seen
from pipelines.cascade.rule.earlier import count_labels
from pipelines.cascade.rule.history import Ask
from pipelines.cascade.rule.scored import UNANSWERED, UNASKED, Labels, Scored
from pipelines.cascade.rule.strike_limits import NOTHING, Counted, Standing, strike_limits
from pipelines.cascade.rule.target import Settled, Target
from pipelines.cascade.rule.term import Term, count_run, term_steps
from tests.cascade.populations import hostile_populations
from tests.cascade.trials import most_misses


def ever_broken(rate: float, limits: Sequence[int]) -> float:
    """The chance that some budget has no more strikes than its limit before one wrong answer too many stays.

    By the tree of all coins: from (stays, strikes) on, both ways.
    """
    chance, broken = {0: 1.0}, 0.0  # by strikes, of those who never broke a limit
    for limit in limits:
        after: dict[int, float] = {}
        for strikes, of_it in chance.items():
            for more in range(60):
                after[strikes + more] = after.get(strikes + more, 0.0) + of_it * rate**more * (1 - rate)
        broken += sum(of_it for strikes, of_it in after.items() if strikes <= limit)
        chance = {strikes: of_it for strikes, of_it in after.items() if strikes > limit}
    return broken


@pytest.mark.parametrize(("rate", "most", "delta"), [(0.3, 12, 0.1), (0.5, 8, 0.05), (0.2, 25, 0.2)])
def test_limits_are_broken_with_a_chance_of_delta_and_not_one_strike_more_may_be_allowed(
    rate: float, most: int, delta: float
) -> None:
    limits = strike_limits(rate, most, delta).tolist()
    assert limits == sorted(limits)
    assert limits[-1] > limits[0]
    assert 0 < ever_broken(rate, limits) <= delta
    assert ever_broken(rate, [*limits[:-1], limits[-1] + 1]) > delta


def any_order(rate: float, limits: Sequence[int]) -> float:
    """The worst that can be done by who sees all coins so far, and raises the budget and adds a wrong item as it likes.

    By going through all that can follow: the term is broken where more stay than may, without a strike too many.
    """
    known: dict[tuple[int, int, int], float] = {}

    def worst(budget: int, stays: int, strikes: int) -> float:
        if stays > budget:
            return 1.0
        place = (budget, stays, strikes)
        if place not in known:
            later = worst(budget + 1, stays, strikes) if budget + 1 < len(limits) else 0.0
            now = 0.0
            if strikes <= limits[budget]:
                now = rate * worst(budget, stays, strikes + 1) + (1 - rate) * worst(budget, stays + 1, strikes)
            known[place] = max(later, now)
        return known[place]

    return worst(0, 0, 0)


@pytest.mark.parametrize(("rate", "most", "delta"), [(0.3, 12, 0.1), (0.5, 8, 0.05), (0.2, 25, 0.2)])
def test_whoever_orders_the_items_and_times_the_runs_breaks_no_more_than_delta(
    rate: float, most: int, delta: float
) -> None:
    limits = strike_limits(rate, most, delta).tolist()
    assert 0 < any_order(rate, limits) <= delta
    assert any_order(rate, [limit + 2 for limit in limits]) > delta


def test_a_budget_too_small_to_show_anything_keeps_nothing() -> None:
    assert strike_limits(0.2, 500, 0.04)[:5].tolist() == [NOTHING] * 5
    assert strike_limits(0.2, 0, 0.04).tolist() == [NOTHING]


TERM = Term(Target(0.8, 0.8), 300)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=30), min_size=1, max_size=8))
def test_a_term_has_one_strike_too_many_at_most_and_no_answer_behind_it_stands(runs: list[list[bool]]) -> None:
    standing = Standing()
    for is_strike in runs:
        counted = count_run(TERM, standing, 30, np.array(is_strike, np.bool_))
        assert counted.before == standing
        assert counted.after.items == standing.items + 30
        looked_at = is_strike[: counted.prefix]
        assert counted.after.strikes <= max(counted.limit + 1, standing.strikes)
        if counted.prefix < len(is_strike) and standing.strikes <= counted.limit:
            assert is_strike[counted.prefix]  # the one that is too many, and it counts
            assert counted.after.strikes == standing.strikes + sum(looked_at) + 1 == counted.limit + 1
        else:
            assert counted.after.strikes == standing.strikes + sum(looked_at)
        assert not looked_at or standing.strikes + sum(looked_at) <= counted.limit
        standing = counted.after


def test_a_term_without_room_is_refused() -> None:
    with pytest.raises(ValueError) as raised:
        count_run(TERM, Standing(280, 0), 30, np.zeros(0, np.bool_))
    assert str(raised.value) == "a term of 300 items has no room for 30 after 280"


def run(
    scored: Scored, standing: Standing, truth: Labels, count: Callable[[BoolArray], Counted] | None = None
) -> tuple[Settled, list[Ask]]:
    labels: Labels = np.full(len(scored), UNASKED, np.int8)
    asks: list[Ask] = []
    steps = term_steps(scored, TERM, standing, count or partial(count_run, TERM, standing, len(scored)), labels)
    while True:
        try:
            ask = next(steps)
        except StopIteration as end:
            settled: Settled = end.value
            assert (settled.is_accepted == (labels == UNASKED)).all()
            return settled, asks
        assert (labels[ask.items] == UNASKED).all()
        labels[ask.items] = truth[ask.items]
        asks.append(ask)


def taught(labels: int = 100) -> tuple[Seen, ...]:
    places = (np.arange(labels) + 0.5) / labels
    return (Seen.each(places, np.zeros(labels, np.int64), places > 0.7),)


def some(items: int, seed: int = 1, earlier: tuple[Seen, ...] = ()) -> tuple[Scored, Labels]:
    random = np.random.default_rng(seed)
    confidence = random.random(items)
    truth = (random.random(items) < 0.6 * (1 - confidence) ** 2).astype(np.int8)
    return Scored(confidence, np.zeros(items, np.int64), seed, earlier), truth


def test_an_item_whose_answer_could_not_be_read_is_asked_in_a_term_too() -> None:
    scored, truth = some(100, earlier=taught())
    settled, _ = run(scored, Standing(200, 0), truth)
    accepted = np.flatnonzero(settled.is_accepted)
    assert len(accepted) > 20
    is_answered = np.ones(100, np.bool_)
    is_answered[accepted[:10]] = False
    settled, _ = run(replace(scored, is_answered=is_answered), Standing(200, 0), np.where(is_answered, truth, 1))
    assert settled.is_accepted.sum() > 10
    assert not settled.is_accepted[~is_answered].any()


def test_a_run_without_earlier_labels_is_asked_in_full_and_its_allowance_is_saved() -> None:
    scored, truth = some(30)
    settled, asks = run(scored, Standing(), truth)
    assert [(ask.stage, len(ask.items), ask.is_at_once) for ask in asks] == [("escalate", 30, True)]
    assert settled.counted == Counted(Standing(), Standing(30, 0), TERM.limit(30), 0)


def test_a_run_of_a_term_that_has_saved_asks_a_part_in_two_batches_at_most() -> None:
    scored, truth = some(60, earlier=taught())
    settled, asks = run(scored, Standing(200, 0), truth)
    assert 1 <= len(asks) <= 2
    assert asks[0].stage == "certify"
    assert 20 < settled.is_accepted.sum() < 60
    assert settled.counted is not None
    assert settled.counted.after == Standing(260, settled.certificate.prefix_wrong)


def test_a_run_without_items_is_counted_and_asks_nobody() -> None:
    scored, truth = some(0, earlier=taught())
    settled, asks = run(scored, Standing(200, 3), truth)
    assert asks == []
    assert settled.counted is not None
    assert settled.counted.after == Standing(200, 3)


def test_a_run_counted_behind_others_keeps_less_than_it_was_planned_with() -> None:
    """Others were counted between its plan and its own turn: what it drew is the same, what stands is not."""
    scored, truth = some(60, earlier=taught())
    planned, now = Standing(200, 0), Standing(230, TERM.limit(290) + 1)
    alone, _ = run(scored, planned, truth)
    settled, asks = run(scored, planned, truth, partial(count_run, TERM, now, 60))
    assert alone.is_accepted.any()
    assert not settled.is_accepted.any()
    assert [ask.stage for ask in asks] == ["certify", "escalate"]


def test_an_item_without_an_answer_is_a_strike() -> None:
    scored, truth = some(60, earlier=taught())
    wrong, _ = run(scored, Standing(200, 0), truth)
    unanswered, _ = run(scored, Standing(200, 0), truth * UNANSWERED)
    assert wrong.counted == unanswered.counted


def test_the_order_of_what_may_stand_knows_nothing_of_the_labels_in_it() -> None:
    scored, truth = some(60, earlier=taught())
    _, (certify, *_) = run(scored, Standing(200, 0), truth)
    assert certify.draw is not None
    seen: list[BoolArray] = []

    def count(is_strike: BoolArray) -> Counted:
        seen.append(is_strike)
        return count_run(TERM, Standing(200, 0), 60, is_strike)

    for item in certify.draw.sample.tolist():  # one strike at a time shows where its item stands
        truth[certify.draw.of] = 0
        truth[item] = 1
        run(scored, Standing(200, 0), truth, count)
    places = [int(np.flatnonzero(is_strike)[0]) for is_strike in seen]
    curve_order = np.argsort(-scored.confidence[certify.draw.sample])
    assert np.array(places)[curve_order].tolist() == sorted(places)


def test_each_item_of_the_stretch_is_drawn_at_the_rate() -> None:
    drawn = of = 0
    for seed in range(150):
        scored, truth = some(60, seed, taught())
        _, (certify, *_) = run(scored, Standing(200, 0), truth)
        if certify.draw is not None:
            drawn, of = drawn + len(certify.draw.sample), of + len(certify.draw.of)
    assert drawn / of == pytest.approx(TERM.rate, abs=4 * (TERM.rate / of) ** 0.5)


@pytest.mark.prove
@pytest.mark.parametrize("kind", ["useless score", "worse and worse", "good, then bad", "all wrong among the surest"])
def test_a_series_keeps_the_promise_after_every_run(kind: str) -> None:
    missed, runs = 0, 80
    for seed in range(runs):
        random, standing, wrong, earlier = np.random.default_rng([seed, 3]), Standing(), 0, list[Seen]()
        is_kept = True
        for number in range(10):
            confidence, luck = random.random(30), random.random(30)
            is_wrong = {
                "useless score": luck < 0.3,
                "worse and worse": luck < (0.1 + 0.08 * number) * (1.5 - confidence),
                "good, then bad": (luck < 0.05) if number < 4 else (luck < 0.7),
                "all wrong among the surest": confidence > 0.75,
            }[kind]
            scored = Scored(confidence, np.zeros(30, np.int64), 100 * seed + number, tuple(earlier))
            settled, asks = run(scored, standing, is_wrong.astype(np.int8))
            assert settled.counted is not None
            standing = settled.counted.after
            wrong += int(is_wrong[settled.is_accepted].sum())
            is_kept &= wrong <= allowed_wrong(standing.items, TERM.promise.target)
            labels = np.where(settled.is_accepted, UNASKED, is_wrong).astype(np.int8)
            items = np.concatenate([ask.items for ask in asks])
            earlier.insert(0, count_labels(scored, labels, items))
        missed += not is_kept
    assert missed <= most_misses(runs, TERM.promise.delta)


def test_hostile_scores_are_looked_at_in_some_order_and_asked_once() -> None:
    for population in hostile_populations():
        truth = population.truth[:100]
        scored = Scored(population.confidence[:100], population.answer[:100], 1, taught())
        term = Term(Target(population.target, 0.9), 5_000)
        labels = np.full(len(scored), UNASKED, np.int8)
        count = partial(count_run, term, Standing(2_000, 0), len(scored))
        for ask in term_steps(scored, term, Standing(2_000, 0), count, labels):
            assert (labels[ask.items] == UNASKED).all()
            labels[ask.items] = truth[ask.items]
