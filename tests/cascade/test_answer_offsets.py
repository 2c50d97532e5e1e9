"""A correction of the temperature, answer by answer: where it is true, and only there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.cascade.answer_offsets import AnswerOffsets, fit_answer_offsets
from pipelines.cascade.calibration import calibrated_confidence, fit_temperature
from pipelines.cascade.decisions import Decisions
from pipelines.committed_decisions import CommittedDecisions
from pipelines.store.objects import Store


def engine(items: int, bias: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of an engine that is twice too sure, and likes the first of four labels and not the last."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2.5, (items, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    claude = (random.random(items)[:, None] > np.cumsum(shares, axis=1)).sum(axis=1)
    told = 2 * (logits + np.array([bias, 0, 0, -bias]))
    return told - np.log(np.exp(told).sum(axis=1, keepdims=True)), claude


def mean_loss(confidence: np.ndarray, is_right: np.ndarray) -> float:
    return float(-np.log(np.where(is_right, confidence, 1 - confidence)).mean())


def test_an_engine_that_likes_a_label_is_corrected_and_documents_it_never_saw_are_the_better_for_it() -> None:
    logprobs, claude = engine(1_200, bias=1.2)
    fitted = fit_temperature(logprobs, claude, seed=1)
    assert fitted.temperature is not None
    assert fitted.by_answer is not None
    offsets = fitted.by_answer.offsets
    assert offsets[0] < offsets[1] < offsets[3]
    assert fitted.reliability is not None
    assert fitted.temperature_reliability is not None
    assert fitted.reliability.brier < fitted.temperature_reliability.brier
    others, theirs = engine(20_000, bias=1.2, seed=2)
    is_right = others.argmax(axis=1) == theirs
    alone = calibrated_confidence(others, fitted.temperature)
    both = calibrated_confidence(others, fitted.temperature, fitted.by_answer)
    assert mean_loss(both, is_right) < 0.97 * mean_loss(alone, is_right)
    for label in range(4):
        own = others.argmax(axis=1) == label
        gap, before = (abs(each[own].mean() - is_right[own].mean()) for each in (both, alone))
        assert gap < max(before, 0.03)


def test_an_engine_without_favourites_keeps_its_temperature_alone() -> None:
    taken = 0
    for seed in range(6):
        fitted = fit_temperature(*engine(400, bias=0.0, seed=seed), seed=seed)
        taken += fitted.by_answer is not None
        if fitted.by_answer is None:
            assert fitted.reliability == fitted.temperature_reliability
    assert taken <= 1


def test_an_answer_that_no_label_was_bought_of_has_what_all_have_in_common() -> None:
    random = np.random.default_rng(3)
    confidence, answer = random.uniform(0.5, 1, 300), random.integers(0, 2, 300)
    is_right = random.random(300) < confidence - 0.2
    fitted = fit_answer_offsets(confidence, answer, is_right, np.ones(300), 3)
    first, second, never = fitted.offsets
    assert min(first, second) - 0.2 < never < max(first, second) + 0.2
    assert never < -0.1


def test_the_correction_is_the_likeliest_one() -> None:
    """No small step from it makes what was seen likelier, the priors counted."""
    random = np.random.default_rng(5)
    confidence, answer = random.uniform(0.3, 1, 200), random.integers(0, 3, 200)
    is_right = random.random(200) < confidence**2

    def worth(scale: float, common: float, own: np.ndarray) -> float:
        log_odds = scale * np.log(confidence / (1 - confidence)) + common + own[answer]
        seen = float((is_right * log_odds - np.logaddexp(0, log_odds)).sum())
        return seen - 0.5 * (common**2 + ((scale - 1) / 0.5) ** 2 + float(((own / 0.5) ** 2).sum()))

    fitted = fit_answer_offsets(confidence, answer, is_right, np.ones(200), 3)
    # What all have in common takes the share of the offsets that its wider prior makes cheapest.
    offsets = np.array(fitted.offsets)
    common = float(offsets.sum() / 0.25 / (1 + 3 / 0.25))
    best = worth(fitted.scale, common, offsets - common)
    for scale, step in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        for label in range(3):
            moved = offsets + step * (np.arange(3) == label)
            assert worth(fitted.scale + scale, common, moved - common) < best + 1e-9


def test_weights_count_as_often_as_they_are_worth_and_not_as_many_labels() -> None:
    random = np.random.default_rng(4)
    confidence, answer = random.uniform(0.5, 1, 300), random.integers(0, 2, 300)
    is_right = random.random(300) < confidence - 0.2
    one = fit_answer_offsets(confidence, answer, is_right, np.ones(300), 2)
    assert fit_answer_offsets(confidence, answer, is_right, np.full(300, 20.0), 2).offsets == pytest.approx(one.offsets)


def test_the_correction_is_what_the_formula_says_and_stays_within_0_and_1() -> None:
    offsets = AnswerOffsets(0.5, (1.0, -1.0))
    told = offsets.corrected(np.array([0.8, 0.8, 1.0, 0.0]), np.array([0, 1, 0, 1]))
    assert told[0] == pytest.approx(1 / (1 + math.exp(-(0.5 * math.log(4) + 1))))
    assert told[1] == pytest.approx(1 / (1 + math.exp(-(0.5 * math.log(4) - 1))))
    assert ((told > 0) & (told < 1)).all()


def test_what_is_decided_is_read_back_with_its_correction(tmp_path: object) -> None:
    committed, offsets = CommittedDecisions(Store(str(tmp_path))), AnswerOffsets(0.9, (0.25, -1 / 3))
    committed.commit([Decisions(np.array([True, False]), 1.3, offsets), Decisions(np.array([True]), 1.3, offsets)])
    read = CommittedDecisions(Store(str(tmp_path))).of_shard(1)
    assert read is not None
    assert (read.is_accepted.tolist(), read.temperature, read.by_answer) == ([True], 1.3, offsets)
