"""The audit's limit on real draws, and drift between runs whose difference is known."""

import numpy as np
import pytest

from pipelines.cascade.audit import audit, audit_items, confidence_distance, label_mix_distance, measure_drift
from pipelines.cascade.rule.scored import Scored
from tests.cascade.trials import most_misses


def scored(seed: int) -> Scored:
    return Scored(np.linspace(0, 1, 300), np.zeros(300, np.int64), seed)


def test_the_limit_holds_over_draws_of_accepted_items() -> None:
    is_accepted, is_wrong = np.arange(300) >= 50, np.arange(300) % 9 == 0
    truth, missed = 1 - is_wrong[is_accepted].mean(), 0
    for seed in range(300):
        items = audit_items(scored(seed), is_accepted, 40)
        assert is_accepted[items].all()
        assert len(np.unique(items)) == 40
        missed += audit(250, 40, int(is_wrong[items].sum()), assurance=0.9).agreement_lower > truth
    assert 0 < missed <= most_misses(300, 0.1)


def test_the_same_run_is_audited_on_the_same_items() -> None:
    accepted = np.ones(300, np.bool_)
    assert audit_items(scored(5), accepted, 20).tolist() == audit_items(scored(5), accepted, 20).tolist()
    assert audit_items(scored(5), accepted, 20).tolist() != audit_items(scored(6), accepted, 20).tolist()


def test_an_audit_of_few_or_no_items() -> None:
    assert len(audit_items(scored(1), np.arange(300) < 7, 20)) == 7
    assert audit(7, 7, 2, 0.9).agreement_lower == pytest.approx(5 / 7)
    assert len(audit_items(scored(1), np.zeros(300, np.bool_), 20)) == 0
    assert audit(0, 0, 0, 0.9).agreement_lower == 1.0
    assert audit(100, 0, 0, 0.9).agreement_lower == 0.0


def test_label_mix_is_the_share_that_would_have_to_change() -> None:
    assert label_mix_distance(np.array([50, 50]), np.array([500, 500])) == 0
    assert label_mix_distance(np.array([80, 20, 0]), np.array([60, 20, 20])) == pytest.approx(0.2)
    assert label_mix_distance(np.array([9, 0]), np.array([0, 4])) == 1


def test_confidence_is_compared_over_its_whole_course() -> None:
    scores = np.linspace(0, 1, 101)
    assert confidence_distance(scores, scores) == 0
    assert confidence_distance(scores, scores + 2) == 1
    assert confidence_distance(scores, scores + 0.25) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("was", "now", "change"), [(0.9, 0.8, -0.1), (None, 0.8, None), (0.9, None, None)])
def test_drift_of_agreement_needs_both_runs(was: float | None, now: float | None, change: float | None) -> None:
    counts, scores = np.array([3, 1]), np.array([0.2, 0.9])
    drift = measure_drift((counts, counts), (scores, scores), (was, now))
    assert (drift.label_mix, drift.confidence) == (0, 0)
    assert drift.agreement == (None if change is None else pytest.approx(change))
