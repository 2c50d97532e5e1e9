"""Temperature scaling, and the measures that say whether a probability means something.

Arrays in, numbers out: ``log_probs`` is items x labels as the engine gives them (not summing to one over the
labels), ``gold`` the index of the right label.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TEMPERATURES = np.geomspace(0.25, 8.0, 1001)


def label_probabilities(log_probs: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities among the labels only, flattened or sharpened by the temperature."""
    scaled = log_probs / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    normalised: Floats = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def fit_temperature(log_probs: Floats, gold: Ints) -> float:
    """The temperature with the least log loss; a grid, because one number needs no optimiser."""
    rows = np.arange(len(gold))
    losses = [-np.log(label_probabilities(log_probs, t)[rows, gold] + 1e-12).mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def calibration_error(confidence: Floats, is_correct: Bools, bins: int = 15) -> float:
    """Expected calibration error over equally wide bins."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[places == b].mean() - is_correct[places == b].mean()) * (places == b).mean()
        for b in range(bins)
        if (places == b).any()
    ]
    return float(sum(gaps))


def ranking_quality(confidence: Floats, is_correct: Bools) -> float | None:
    """AUROC: how often a right answer has more confidence than a wrong one; None if all are alike."""
    right, wrong = confidence[is_correct], np.sort(confidence[~is_correct])
    if not len(right) or not len(wrong):
        return None
    below = np.searchsorted(wrong, right, side="left")
    tied = np.searchsorted(wrong, right, side="right") - below
    return float((below + tied / 2).mean() / len(wrong))
