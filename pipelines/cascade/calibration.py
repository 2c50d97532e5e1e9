"""From labels bought of Claude to a calibrated confidence, and how far that can be relied on.

Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one number, so a few dozen labels settle it, and the order of
items never changes. Where the labels show that an offset for each answer does better, it corrects the temperature (see
`answer_offsets`). What is reported is cross-fitted: no label is judged by a map that it helped to fit. Labels
that were bought where the engine is doubtful would tilt it, so each weighs as many items of the run as it stands for.
"Right" means: as Claude answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.cascade.answer_offsets import AnswerOffsets, fit_answer_offsets, log_loss
from pipelines.cascade.confidence import softmax

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LEAST_LABELS = 50
_LEAST_OF_EACH = 5  # right and wrong ones; without both, any certainty fits as well as any other
_FOLDS = 5
_BINS = 10
_SHARPEST, _FLATTEST = 0.05, 20.0  # temperatures
_BISECTIONS = 60


@dataclass(frozen=True)
class Bin:
    """Labelled items of about the same confidence, and the ``share`` of the run's items that they stand for."""

    items: int
    mean_confidence: float
    agreement: float
    share: float


@dataclass(frozen=True)
class Reliability:
    """Confidence against agreement. The error is the mean gap of the bins, each by its share of the items."""

    bins: tuple[Bin, ...]
    expected_calibration_error: float
    brier: float


@dataclass(frozen=True)
class LabelAgreement:
    """How often Claude agreed where the engine gave this answer."""

    label: int
    items: int
    agreement: float
    mean_confidence: float | None


@dataclass(frozen=True)
class FittedTemperature:
    """The map, or why there is none; then the reliability is missing too."""

    temperature: float | None
    reason: str | None
    fitted_on: int
    reliability: Reliability | None  # cross-fitted
    raw_reliability: Reliability | None
    by_label: tuple[LabelAgreement, ...]
    by_answer: AnswerOffsets | None = None  # corrects the temperature; then the reliability is of both
    temperature_reliability: Reliability | None = None  # of the temperature alone, cross-fitted


def fit_temperature(
    label_logprobs: FloatArray, claude: IntArray, seed: int, weight: FloatArray | None = None
) -> FittedTemperature:
    """Fit to the items that Claude gave one of the labels.

    Args:
        label_logprobs: shape [items, labels], as the engine gave them.
        claude: shape [items], the number of the label that Claude gave.
        seed: of the folds.
        weight: shape [items], for how many items of the run each stands; None: all for as many.
    """
    weight = np.ones(len(claude)) if weight is None else weight
    answer = np.argmax(label_logprobs, axis=1) if len(claude) else np.zeros(0, np.int64)
    is_right = answer == claude
    reason = _too_few(is_right)
    if reason is not None:
        return FittedTemperature(None, reason, len(claude), None, None, _by_label(answer, is_right, weight, None))
    confidence, corrected = np.empty(len(claude)), np.empty(len(claude))
    fold = np.argsort(np.argsort(np.random.PCG64(seed).random_raw(len(claude)))) % _FOLDS
    for number in range(_FOLDS):
        is_out = fold == number
        temperature = _best_temperature(label_logprobs[~is_out], claude[~is_out], weight[~is_out])
        by_answer = _offsets(label_logprobs[~is_out], is_right[~is_out], weight[~is_out], temperature)
        confidence[is_out] = calibrated_confidence(label_logprobs[is_out], temperature)
        corrected[is_out] = by_answer.corrected(confidence[is_out], answer[is_out])
    temperature, alone = _best_temperature(label_logprobs, claude, weight), confidence
    is_better = _is_surely_less(log_loss(corrected, is_right), log_loss(confidence, is_right), weight)
    if is_better:
        confidence = corrected
    return FittedTemperature(
        temperature=temperature,
        reason=None,
        fitted_on=len(claude),
        reliability=measure_reliability(confidence, is_right, weight),
        raw_reliability=measure_reliability(calibrated_confidence(label_logprobs, 1.0), is_right, weight),
        by_label=_by_label(answer, is_right, weight, confidence),
        by_answer=_offsets(label_logprobs, is_right, weight, temperature) if is_better else None,
        temperature_reliability=measure_reliability(alone, is_right, weight),
    )


def _offsets(
    label_logprobs: FloatArray, is_right: NDArray[np.bool_], weight: FloatArray, temperature: float
) -> AnswerOffsets:
    confidence, answer = calibrated_confidence(label_logprobs, temperature), np.argmax(label_logprobs, axis=1)
    return fit_answer_offsets(confidence, answer, is_right, weight, label_logprobs.shape[1])


def _is_surely_less(one: FloatArray, other: FloatArray, weight: FloatArray) -> bool:
    """Whether one mean is below the other by more than the standard error of their difference."""
    share, less = weight / weight.sum(), other - one
    mean = float(share @ less)
    return mean > float(np.sqrt(share**2 @ (less - mean) ** 2))


def measure_reliability(
    confidence: FloatArray, is_right: NDArray[np.bool_], weight: FloatArray | None = None
) -> Reliability:
    """In bins of equally many items; at least one item is needed, and none may weigh nothing."""
    weight = np.ones(len(confidence)) if weight is None else weight
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    shares = np.array([weight[part].sum() for part in parts]) / weight.sum()
    bins = tuple(
        Bin(len(part), _mean(confidence[part], weight[part]), _mean(is_right[part], weight[part]), share)
        for part, share in zip(parts, shares.tolist(), strict=True)
    )
    gap = _mean(np.array([abs(one.mean_confidence - one.agreement) for one in bins]), shares)
    return Reliability(bins, gap, _mean((confidence - is_right) ** 2, weight))


def _mean(values: FloatArray | NDArray[np.bool_], weight: FloatArray) -> float:
    return float(np.average(values, weights=weight))


def _too_few(is_right: NDArray[np.bool_]) -> str | None:
    labels, right = len(is_right), int(is_right.sum())
    if labels < _LEAST_LABELS:
        return f"only {labels} labels; {_LEAST_LABELS} are needed"
    if min(right, labels - right) < _LEAST_OF_EACH:
        return f"Claude agreed with {right} of {labels}; at least {_LEAST_OF_EACH} of each kind are needed"
    return None


def _best_temperature(label_logprobs: FloatArray, claude: IntArray, weight: FloatArray) -> float:
    """Of most likelihood: the likelihood is concave in the inverse temperature, so its slope is bisected."""
    claimed = label_logprobs[np.arange(len(claude)), claude]
    low, high = np.log(1 / _FLATTEST), np.log(1 / _SHARPEST)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        shares = softmax(np.exp(middle) * label_logprobs)
        if float(((shares * label_logprobs).sum(axis=1) - claimed) @ weight) > 0:
            high = middle
        else:
            low = middle
    return float(np.exp(-(low + high) / 2))


def calibrated_confidence(
    label_logprobs: FloatArray, temperature: float, by_answer: AnswerOffsets | None = None
) -> FloatArray:
    """Of each item's best label; shape [items]."""
    confidence: FloatArray = softmax(label_logprobs / temperature).max(axis=1)
    if by_answer is None:
        return confidence
    return by_answer.corrected(confidence, np.argmax(label_logprobs, axis=1))


def _by_label(
    answer: IntArray, is_right: NDArray[np.bool_], weight: FloatArray, confidence: FloatArray | None
) -> tuple[LabelAgreement, ...]:
    rows = []
    for label in np.unique(answer).tolist():
        own = answer == label
        mean = None if confidence is None else _mean(confidence[own], weight[own])
        rows.append(LabelAgreement(label, int(own.sum()), _mean(is_right[own], weight[own]), mean))
    return tuple(rows)
