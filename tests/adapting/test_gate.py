"""An adapter passes where the rule would surely ask less with it, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.adapting import gate as gate_module
from pipelines.adapting.gate import Gate, Logprobs, judge
from pipelines.cascade.rule.target import Target

LABELS = 4
PROMISE = Target(0.9, 0.9)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "DRAWS", 8)


def truth(count: int = 240) -> np.ndarray:
    return np.random.default_rng(1).integers(LABELS, size=count)


def model(labels: np.ndarray, accuracy: float, seed: int) -> Logprobs:
    """Right as often as said, and a little surer where it is right."""
    random = np.random.default_rng(seed)
    is_right = random.random(len(labels)) < accuracy
    said = np.where(is_right, labels, (labels + random.integers(1, LABELS, len(labels))) % LABELS)
    sure = np.clip(random.normal(np.where(is_right, 0.8, 0.55), 0.1), 0.3, 0.99)
    shares = np.repeat(((1 - sure) / LABELS)[:, None], LABELS, axis=1)
    shares[np.arange(len(labels)), said] += sure - 0.001
    return np.log(shares)


def judged(before: float, after: float, count: int = 240) -> Gate:
    labels = truth(count)
    return judge(model(labels, before, 2), model(labels, after, 3), labels, PROMISE, 300, seed=0)


def test_a_model_that_is_right_more_often_passes_and_its_saving_lies_in_the_interval() -> None:
    gate = judged(0.6, 0.88)
    assert gate.is_better
    assert gate.saved_low < gate.saved < gate.saved_high
    assert gate.saved == pytest.approx(gate.before.asked_share - gate.after.asked_share)
    assert gate.before.accuracy < 0.7 < gate.after.accuracy
    assert gate == judged(0.6, 0.88), "the same seed judges the same"


@pytest.mark.parametrize(("before", "after"), [(0.8, 0.6), (0.8, 0.25)])
def test_a_worse_model_does_not_pass(before: float, after: float) -> None:
    assert not judged(before, after).is_better


def test_the_same_model_does_not_pass() -> None:
    labels = truth()
    same = model(labels, 0.8, 2)
    gate = judge(same, same, labels, PROMISE, 300, seed=0)
    assert gate.saved == 0
    assert not gate.is_better


def test_what_a_few_labels_may_owe_to_luck_does_not_pass() -> None:
    assert not judged(0.80, 0.82, count=60).is_better


def test_calibration_is_measured_though_too_few_labels_allow_no_temperature() -> None:
    gate = judged(0.99, 1.0, count=60)
    assert 0 <= gate.after.calibration_error < 1
