"""A temperature from bought labels, against engines whose true temperature is known."""

import numpy as np
import pytest

from pipelines.cascade.calibration import fit_temperature, measure_reliability


def engine(items: int, temperature: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of an engine that is too sure by that factor, and what Claude says."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (items, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    claude = (random.random(items)[:, None] > np.cumsum(shares, axis=1)).sum(axis=1)
    scaled = logits * temperature
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)), claude


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_the_engine_is_found(temperature: float) -> None:
    fitted = fit_temperature(*engine(4000, temperature), seed=1)
    assert fitted.temperature == pytest.approx(temperature, rel=0.1)
    assert fitted.reason is None
    assert fitted.fitted_on == 4000


def test_a_fitted_map_is_more_reliable_than_a_raw_probability() -> None:
    fitted = fit_temperature(*engine(1000, 4.0), seed=1)
    assert fitted.reliability is not None
    assert fitted.raw_reliability is not None
    assert fitted.reliability.expected_calibration_error < 0.06 < fitted.raw_reliability.expected_calibration_error
    assert fitted.reliability.brier < fitted.raw_reliability.brier
    assert sum(one.items for one in fitted.reliability.bins) == 1000


def test_the_same_labels_give_the_same_map() -> None:
    assert fit_temperature(*engine(200, 2.0), seed=3) == fit_temperature(*engine(200, 2.0), seed=3)


def test_no_label_is_judged_by_a_map_that_it_helped_to_fit() -> None:
    # Claude's answers are noise here: a map judged by its own labels would look better than one that is not.
    logprobs, claude = engine(60, 1.0)
    noise = np.random.default_rng(4).permutation(claude)
    fitted = fit_temperature(logprobs, noise, seed=1)
    assert fitted.temperature is not None
    assert fitted.reliability is not None
    is_right = logprobs.argmax(axis=1) == noise
    own = np.exp(logprobs / fitted.temperature)
    within = measure_reliability((own / own.sum(axis=1, keepdims=True)).max(axis=1), is_right)
    assert fitted.reliability.brier > within.brier


def test_each_answer_has_its_own_row() -> None:
    logprobs = np.log(np.tile([[0.9, 0.1], [0.2, 0.8]], (50, 1)))
    claude = np.tile([0, 1, 0, 0, 0, 1, 0, 0, 1, 0], 10)
    fitted = fit_temperature(logprobs, claude, seed=1)
    first, second = fitted.by_label
    assert (first.label, first.items, second.label, second.items) == (0, 50, 1, 50)
    assert (first.agreement, second.agreement) == (pytest.approx(0.8), pytest.approx(0.4))
    assert first.mean_confidence is not None


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        (0, 0, "only 0 labels; 50 are needed"),
        (40, 9, "only 49 labels; 50 are needed"),
        (96, 4, "Claude agreed with 96 of 100; at least 5 of each kind are needed"),
        (0, 60, "Claude agreed with 0 of 60; at least 5 of each kind are needed"),
    ],
)
def test_too_few_labels_give_no_map_but_a_reason(right: int, wrong: int, reason: str) -> None:
    logprobs = np.log(np.tile([[0.9, 0.1]], (right + wrong, 1)))
    fitted = fit_temperature(logprobs, np.r_[np.zeros(right, np.int64), np.ones(wrong, np.int64)], seed=1)
    assert (fitted.temperature, fitted.reason) == (None, reason)
    assert (fitted.reliability, fitted.raw_reliability) == (None, None)
    assert all(row.mean_confidence is None for row in fitted.by_label)


def test_reliability_is_the_mean_gap_of_the_bins() -> None:
    confidence = np.repeat([0.6, 0.9], 50)
    is_right = np.r_[np.arange(50) < 20, np.arange(50) < 45]
    reliability = measure_reliability(confidence, is_right)
    assert len(reliability.bins) == 10
    assert reliability.brier == pytest.approx((20 * 0.16 + 30 * 0.36 + 45 * 0.01 + 5 * 0.81) / 100)
    one = measure_reliability(np.array([0.7]), np.array([True]))
    assert one.expected_calibration_error == pytest.approx(0.3)


def test_labels_bought_where_the_engine_is_doubtful_count_for_as_many_items_as_they_stand_for() -> None:
    """All of the less sure half is asked, and a twentieth of the other."""
    logprobs, claude = engine(20_000, 2.0)
    sureness = logprobs.max(axis=1)
    is_sure = sureness > np.median(sureness)
    is_bought = ~is_sure | (np.arange(20_000) % 20 == 0)
    weight = np.where(is_sure, 20.0, 1.0)[is_bought]
    of_all, bought = fit_temperature(logprobs, claude, 1), (logprobs[is_bought], claude[is_bought])
    weighted, unweighted = fit_temperature(*bought, 1, weight), fit_temperature(*bought, 1)
    assert of_all.reliability and weighted.reliability and unweighted.reliability
    bins = weighted.reliability.bins
    assert sum(one.share for one in bins) == pytest.approx(1)
    right = np.mean(logprobs.argmax(axis=1) == claude)
    assert sum(one.share * one.agreement for one in bins) == pytest.approx(right, abs=0.02)
    assert sum(one.items * one.agreement for one in unweighted.reliability.bins) / is_bought.sum() < right - 0.1
    for own, whole in zip(weighted.by_label, of_all.by_label, strict=True):
        assert own.agreement == pytest.approx(whole.agreement, abs=0.05)
