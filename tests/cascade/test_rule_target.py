"""The quality target from pilot to end: the promise on hostile items, and a run that is killed at any point."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cascade.rule import target as module
from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.history import pilot_items
from pipelines.cascade.rule.scored import UNANSWERED, UNASKED, Scored
from pipelines.cascade.rule.strikes import StrikesPlan
from pipelines.cascade.rule.target import Ask, Settled, Target, next_step, target_steps
from tests.bench import cascade_adapter
from tests.cascade.populations import Population, hostile_populations
from tests.cascade.trials import most_misses, tries

RUNS, ASSURANCE = 60, 0.9


def finish(scored: Scored, promise: Target, truth: np.ndarray) -> tuple[Settled, list[Ask]]:
    labels, asks = np.full(len(scored), UNASKED, np.int8), []
    while isinstance(step := next_step(scored, promise, labels), Ask):
        assert (labels[step.items] == UNASKED).all()
        labels[step.items] = truth[step.items]
        asks.append(step)
    assert (step.is_accepted == (labels == UNASKED)).all()
    return step, asks


@tries(RUNS)
@pytest.mark.parametrize("population", hostile_populations(), ids=lambda population: population.name)
def test_the_promise_holds_on_hostile_items(population: Population, runs: int) -> None:
    promise, missed = Target(population.target, ASSURANCE), 0
    allowed = allowed_wrong(len(population.truth), population.target)
    for seed in range(runs):
        # All labels are there from the start: the rule looks at those of its own batches only.
        settled = next_step(population.scored(seed), promise, population.truth)
        assert isinstance(settled, Settled)
        missed += population.is_wrong[settled.is_accepted].sum() > allowed
        facts = settled.certificate
        assert facts.rounds <= 2
        assert facts.prefix_wrong <= facts.strikes or not facts.prefix
        assert settled.is_accepted.sum() >= allowed - facts.pilot
    assert missed <= most_misses(runs, promise.delta)


@pytest.mark.parametrize("target", [0.5, 0.9, 0.999, 1.0])
def test_the_promise_holds_from_one_item_to_sixty(target: float) -> None:
    random, missed, runs = np.random.default_rng(7), 0, 0
    for items in range(1, 61):
        for seed in range(3):
            score = random.random(items)
            is_wrong = random.random(items) < 1.2 * (1 - target) + 0.3 * (1 - score)
            scored = Scored(score, random.integers(0, 2, items), seed)
            settled, asks = finish(scored, Target(target, ASSURANCE), is_wrong.astype(np.int8))
            missed += is_wrong[settled.is_accepted].sum() > allowed_wrong(items, target)
            runs += 1
            assert sum(len(ask.items) for ask in asks) + settled.is_accepted.sum() == items
    assert missed <= most_misses(runs, 0.1)


def test_no_items_are_settled_at_once() -> None:
    settled = next_step(Scored(np.zeros(0), np.zeros(0, np.int64), 1), Target(0.9, 0.9), np.zeros(0, np.int8))
    assert isinstance(settled, Settled)
    assert settled.certificate.rounds == 0


def test_a_target_of_one_asks_everything_in_one_message_batch() -> None:
    scored = Scored(np.linspace(0, 1, 500), np.zeros(500, np.int64), 1)
    settled, asks = finish(scored, Target(1.0, 0.95), np.zeros(500, np.int8))
    assert [(ask.stage, ask.round, len(ask.items)) for ask in asks] == [("escalate", 1, 500)]
    assert asks[0].items.tolist() == list(range(500))  # the most doubtful first: what a budget should reach
    assert not settled.is_accepted.any()


CONFIDENCES = st.lists(
    st.sampled_from([0.1, 0.5, 0.9, 0.99, 1.0, math.nan]) | st.floats(0, 1), min_size=1, max_size=150
)


@settings(max_examples=40, deadline=None)
@given(CONFIDENCES, st.integers(1, 4), st.integers(0, 2**64 - 1), st.sampled_from([0.5, 0.8, 0.9]))
def test_a_killed_run_asks_the_same_items(confidence: list[float], answers: int, seed: int, target: float) -> None:
    random = np.random.default_rng(seed)
    items, promise = len(confidence), Target(target, 0.9)
    scores, answer = np.array(confidence), random.integers(0, answers, items)
    truth = random.choice([0, 0, 0, 1, UNANSWERED], items).astype(np.int8)
    labels, seen = np.full(items, UNASKED, np.int8), np.zeros(items, np.bool_)
    while isinstance(step := next_step(Scored(scores, answer, seed), promise, labels), Ask):
        assert not seen[step.items].any()
        assert len(np.unique(step.items)) == len(step.items)
        seen[step.items] = True
        # Killed with some of the batch answered, and with answers that were bought for other purposes.
        partly = labels.copy()
        partly[random.random(items) < 0.3] = 0
        partly[seen & (labels == UNASKED)] = UNASKED
        some = step.items[: len(step.items) // 2]
        partly[some] = truth[some]
        again = next_step(Scored(scores, answer, seed), promise, partly)
        assert isinstance(again, Ask)
        assert (again.stage, again.round) == (step.stage, step.round)
        assert again.items.tolist() == step.items.tolist()
        labels[step.items] = truth[step.items]
    assert (step.is_accepted == ~seen).all()


def test_what_is_drawn_and_how_many_strikes_may_be_is_fixed_before_the_first_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    population = hostile_populations()[8]
    plans: list[StrikesPlan] = []

    def record(*arguments: object) -> StrikesPlan:
        plans.append(plan_strikes(*arguments))
        return plans[-1]

    plan_strikes = module.plan_strikes
    monkeypatch.setattr(module, "plan_strikes", record)
    scored, promise = population.scored(3), Target(0.9, 0.9)
    for known in (UNASKED, 0, 1, UNANSWERED):
        next_step(scored, promise, np.full(len(scored), known, np.int8))
    assert plans[0].sample > 0
    assert plans == plans[:1] * 4


def test_the_certifying_sample_is_uniform_over_all_but_the_pilot() -> None:
    population, drawn, left = hostile_populations()[0], np.zeros(400), np.zeros(400)
    for seed in range(100):
        certify, *_ = target_steps(population.scored(seed), Target(0.9, 0.9), population.truth)
        assert certify.draw is not None
        assert len(certify.draw.of) + len(certify.pilot) == 400
        assert not np.isin(certify.draw.of, certify.pilot).any()
        left[certify.draw.of] += 1
        drawn[certify.draw.sample] += len(certify.draw.of) / len(certify.draw.sample)
    has = left > 20
    share = drawn[has] / left[has]
    assert share.mean() == pytest.approx(1, abs=0.03)
    by_score = np.array_split(share[np.argsort(population.confidence[has])], 8)
    assert np.array([part.mean() for part in by_score]) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("items", [100, 400, 5_000])
def test_the_pilot_lies_where_everything_is_asked_in_the_end(items: int) -> None:
    scored = Scored(np.linspace(0, 1, items), np.zeros(items, np.int64), 1)
    pilot = pilot_items(scored, 30, is_even=False)
    assert len(np.unique(pilot)) == 30
    assert (scored.confidence[pilot] < 0.5).sum() >= 28
    even = pilot_items(scored, 30, is_even=True)
    assert 13 <= (scored.confidence[even] < 0.5).sum() <= 17


def test_the_pilot_is_asked_with_the_sample_and_stands_for_itself() -> None:
    population = hostile_populations()[0]
    certify, escalate = target_steps(population.scored(1), Target(0.9, 0.9), population.truth)
    assert (certify.stage, escalate.stage) == ("certify", "escalate")
    assert certify.draw is not None
    is_drawn = np.isin(certify.items, certify.draw.sample)
    assert sorted(certify.items[~is_drawn]) == sorted(certify.pilot)
    assert len(certify.pilot) == 15
    assert (certify.weights[~is_drawn] == 1).all()
    assert certify.weights[is_drawn].sum() == pytest.approx(len(certify.draw.of))


def test_no_run_takes_more_than_two_message_batches_and_a_clean_one_takes_one() -> None:
    rounds = [
        next_step(population.scored(seed), Target(population.target, 0.9), population.truth).certificate.rounds
        for population in hostile_populations()
        for seed in range(4)
    ]
    assert max(rounds) == 2
    clean = hostile_populations()[5]
    assert next_step(clean.scored(1), Target(0.9, 0.9), clean.truth).certificate.rounds == 1


def test_an_item_without_an_answer_counts_as_wrong_and_is_not_accepted() -> None:
    population = hostile_populations()[8]
    wrong, _ = finish(population.scored(1), Target(0.9, 0.9), population.truth)
    unanswered, _ = finish(population.scored(1), Target(0.9, 0.9), population.truth * UNANSWERED)
    assert wrong.certificate == unanswered.certificate
    assert (wrong.is_accepted == unanswered.is_accepted).all()


@pytest.mark.parametrize("items", [45, 400])
def test_an_item_whose_answer_could_not_be_read_is_asked_and_never_accepted(items: int) -> None:
    random = np.random.default_rng(4)
    score, is_answered = random.random(items), random.random(items) > 0.1
    score[~is_answered] = 1  # even if it seems the surest
    scored = Scored(score, random.integers(0, 2, items), 3, is_answered=is_answered)
    truth = np.where(is_answered, random.random(items) < 0.5 * (1 - score), 1).astype(np.int8)
    settled, asks = finish(scored, Target(0.9, 0.9), truth)
    assert 0 < settled.is_accepted.sum() < is_answered.sum()
    assert not settled.is_accepted[~is_answered].any()
    assert set(np.flatnonzero(~is_answered)) <= set(np.concatenate([ask.items for ask in asks]).tolist())


def test_where_all_else_may_stand_what_could_not_be_read_is_asked_all_the_same() -> None:
    is_answered = np.ones(400, np.bool_)
    is_answered[[5, 90, 210, 333]] = False
    scored = Scored(np.linspace(0, 1, 400), np.zeros(400, np.int64), 1, is_answered=is_answered)
    settled, asks = finish(scored, Target(0.9, 0.9), (~is_answered).astype(np.int8))
    assert settled.certificate.prefix == settled.certificate.stretch, "everything that was not asked may stand"
    assert not settled.is_accepted[~is_answered].any()
    assert [ask.stage for ask in asks] == ["certify", "escalate"]


def test_the_same_run_asks_the_same_items_on_every_machine() -> None:
    scored = Scored(np.linspace(0, 1, 300), np.zeros(300, np.int64), seed=42)
    step = next_step(scored, Target(0.9, 0.9), np.full(300, UNASKED, np.int8))
    assert isinstance(step, Ask)
    assert step.items[:5].tolist() == PINNED


PINNED = [206, 72, 64, 47, 45]


@pytest.mark.parametrize(
    ("target", "assurance", "message"),
    [
        (0.0, 0.9, "target must be over 0 and at most 1; it is 0.0"),
        (95, 0.9, "target must be over 0 and at most 1; it is 95"),
        (0.9, 1.0, "assurance must be between 0 and 1; it is 1.0"),
    ],
)
def test_an_impossible_promise_is_refused(target: float, assurance: float, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        Target(target, assurance)
    assert str(raised.value) == message


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError) as raised:
        Scored(np.zeros(3), np.zeros(2, np.int64), 1)
    assert str(raised.value) == "confidence and answer must be two lists of the same length; they are (3,) and (2,)"
    with pytest.raises(ValueError) as raised:
        next_step(Scored(np.zeros(3), np.zeros(3, np.int64), 1), Target(0.9, 0.9), np.zeros(2, np.int8))
    assert str(raised.value) == "3 items need as many labels; there are 2"


def test_the_adapter_asks_what_the_rule_asks() -> None:
    population, asked = hostile_populations()[8], np.zeros(400, np.bool_)

    def ask(items: np.ndarray) -> np.ndarray:
        assert not asked[items].any()
        asked[items] = True
        return population.is_wrong[items].astype(np.float64)

    rounds = cascade_adapter.target(
        population.confidence, ask, 0.9, 0.1, np.random.default_rng(3), cls=population.answer
    )
    assert 1 <= rounds <= 2
    assert 0 < (~asked).sum() < 400
