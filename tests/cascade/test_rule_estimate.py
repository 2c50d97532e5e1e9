"""Estimates: what the rule is likely to ask, played on what a pilot allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.cascade.rule.estimate import estimate_asked
from pipelines.cascade.rule.history import pilot_items, pilot_size
from pipelines.cascade.rule.scored import AGREES, DIFFERS, UNASKED, Scored
from pipelines.cascade.rule.target import Target, next_step
from tests.cascade.trials import most_misses

ITEMS = 1_500


def population() -> tuple[Scored, np.ndarray[tuple[int], np.dtype[np.int8]]]:
    """Items whose confidence is true, and what Claude would say of each."""
    random = np.random.default_rng(5)
    confidence = random.uniform(0.5, 1.0, ITEMS)
    verdicts = np.where(random.random(ITEMS) < confidence, AGREES, DIFFERS).astype(np.int8)
    return Scored(confidence, np.zeros(ITEMS, np.int64), seed=3), verdicts


def asked_by(scored: Scored, promise: Target, verdicts: np.ndarray[tuple[int], np.dtype[np.int8]]) -> int:
    labels = np.full(ITEMS, UNASKED, np.int8)
    while not hasattr(step := next_step(scored, promise, labels), "is_accepted"):
        labels[step.items] = verdicts[step.items]
    return int((~step.is_accepted).sum())


def test_what_is_asked_in_the_end_lies_in_the_range_that_a_pilot_gave() -> None:
    scored, verdicts = population()
    labels = np.full(ITEMS, UNASKED, np.int8)
    for target in (0.85, 0.9, 0.95):
        promise = Target(target, 0.9)
        pilot = pilot_items(scored, pilot_size(scored), is_even=False)
        labels[pilot] = verdicts[pilot]
        estimate = estimate_asked(scored, promise, labels)
        assert estimate.least <= estimate.asked <= estimate.most
        assert 0.7 * estimate.least <= asked_by(scored, promise, verdicts) <= 1.3 * estimate.most


def test_a_higher_target_asks_more_and_a_perfect_one_everything() -> None:
    scored, verdicts = population()
    labels = np.full(ITEMS, UNASKED, np.int8)
    labels[:60] = verdicts[:60]
    asked = [estimate_asked(scored, Target(target, 0.9), labels).asked for target in (0.8, 0.9, 1.0)]
    assert asked == sorted(asked)
    assert asked[-1] == ITEMS


def test_the_same_labels_give_the_same_estimate() -> None:
    scored, verdicts = population()
    labels = np.full(ITEMS, UNASKED, np.int8)
    labels[:60] = verdicts[:60]
    first, second = (estimate_asked(scored, Target(0.9, 0.9), labels) for _ in range(2))
    assert first == second


@pytest.mark.prove
def test_the_range_holds_what_is_asked_nine_times_in_ten() -> None:
    scored, verdicts = population()
    promise, missed, runs = Target(0.9, 0.9), 0, 30
    for seed in range(runs):
        run, labels = replace(scored, seed=seed), np.full(ITEMS, UNASKED, np.int8)
        pilot = pilot_items(run, pilot_size(run), is_even=False)
        labels[pilot] = verdicts[pilot]
        estimate = estimate_asked(run, promise, labels)
        missed += not estimate.least <= asked_by(run, promise, verdicts) <= estimate.most
    assert missed <= most_misses(runs, 0.1)


def test_what_the_audit_asks_is_in_the_estimate() -> None:
    scored, verdicts = population()
    labels = np.full(ITEMS, UNASKED, np.int8)
    labels[:60] = verdicts[:60]
    without, with_it = (estimate_asked(scored, Target(0.9, 0.9, audit_items), labels) for audit_items in (0, 50))
    assert (with_it.asked, with_it.least) == (without.asked + 50, without.least + 50)


def test_a_small_run_is_estimated_without_a_label() -> None:
    few = Scored(np.linspace(0.5, 1, 60), np.zeros(60, np.int64), seed=3)
    estimate = estimate_asked(few, Target(0.95, 0.95, audit_items=2), np.full(60, UNASKED, np.int8))
    assert (estimate.asked, estimate.least, estimate.most) == (59, 59, 59)
