"""What a temperature leaves wrong: engines are surer of some answers than these deserve, and not all by one factor.

``logit confidence = scale * logit(confidence by temperature) + offset[answer]``, fitted to whether Claude agreed, each
offset drawn towards what all have in common. In: confidences by a temperature, and labels. Out: the correction. Whether
it is worth having is judged by labels that it was not fitted to, in `calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Priors, of what is common to all answers, of the scale, and of each answer: a dozen labels of one hardly move it.
_COMMON_SD, _SCALE_SD, _OFFSET_SD = 1.0, 0.5, 0.5
_NEWTON_STEPS = 50
_LEAST = 1e-6  # from 0 and from 1: log-odds beyond are noise of the engine's arithmetic


@dataclass(frozen=True)
class AnswerOffsets:
    """A correction of confidences; ``offsets`` has one number for each label."""

    scale: float
    offsets: tuple[float, ...]

    def corrected(self, confidence: FloatArray, answer: IntArray) -> FloatArray:
        """Of each item, given its confidence by the temperature, and the number of its answer."""
        return _share(self.scale * _log_odds(confidence) + np.array(self.offsets)[answer])


def fit_answer_offsets(
    confidence: FloatArray, answer: IntArray, is_right: BoolArray, weight: FloatArray, labels: int
) -> AnswerOffsets:
    """The likeliest correction, by Newton's method.

    Args:
        confidence: by the temperature; shape [items].
        answer: the number of the label that the engine gave.
        is_right: whether Claude gave it too.
        weight: for how many items of the run each stands, over 0.
        labels: how many there are.
    """
    # Unequal weights tell as much as fewer equal ones do: so many, and no more, are held against the priors.
    weight = weight * (weight.sum() / (weight**2).sum())
    design = np.column_stack([np.ones(len(answer)), _log_odds(confidence)])
    mean, precision = np.array([0.0, 1.0]), np.array([_COMMON_SD, _SCALE_SD]) ** -2.0
    line, offsets = mean.copy(), np.zeros(labels)
    for _ in range(_NEWTON_STEPS):
        share = _share(design @ line + offsets[answer])
        rest, sure = weight * (is_right - share), weight * share * (1 - share)
        # The offsets depend on each other through the line alone: they are solved for first, label by label.
        own = np.bincount(answer, sure, labels) + _OFFSET_SD**-2.0
        own_gradient = np.bincount(answer, rest, labels) - offsets * _OFFSET_SD**-2.0
        cross = np.stack([np.bincount(answer, sure * column, labels) for column in design.T], axis=1)
        pull = cross / own[:, None]
        curvature = (design * sure[:, None]).T @ design + np.diag(precision) - cross.T @ pull
        step = np.linalg.solve(curvature, design.T @ rest - precision * (line - mean) - pull.T @ own_gradient)
        own_step = own_gradient / own - pull @ step
        line, offsets = line + np.clip(step, -1, 1), offsets + np.clip(own_step, -1, 1)
        if max(np.abs(step).max(), np.abs(own_step).max()) < 1e-9:
            break
    return AnswerOffsets(float(line[1]), tuple((line[0] + offsets).tolist()))


def log_loss(confidence: FloatArray, is_right: BoolArray) -> FloatArray:
    """Of each item: how surprised one is who believed the confidence."""
    loss: FloatArray = -np.log(np.where(is_right, np.maximum(confidence, _LEAST), np.maximum(1 - confidence, _LEAST)))
    return loss


def _log_odds(confidence: FloatArray) -> FloatArray:
    within = np.clip(confidence, _LEAST, 1 - _LEAST)
    odds: FloatArray = np.log(within / (1 - within))
    return odds


def _share(log_odds: FloatArray) -> FloatArray:
    share: FloatArray = 1 / (1 + np.exp(-log_odds))
    return share
