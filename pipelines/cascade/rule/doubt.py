"""How likely each answer is wrong, learnt from the few labels bought so far.

``logit P(wrong) = intercept + slope * (rank - 1/2) + offset[answer]``, where the rank runs from 0 (the engine is
surest) to 1. The answer's offset is the largest lever there is: engines are far more often wrong with some answers than
with others. Steers what a run costs, never whether its promise holds, so an approximate posterior will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Priors. Log-odds of error rise by 3.4 to 6.6 along the ranking on the twelve real sets looked at.
_INTERCEPT, _INTERCEPT_SD = -2.0, 3.0
_SLOPE, _SLOPE_SD = 5.0, 2.0
_LEAST_SLOPE = 0.5  # a useless score still breaks ties; an inverted one is not believed on a few dozen labels
_OFFSET_SDS = (0.0, 0.5, 1.5, 3.0)  # how far answers differ: the one of most evidence is taken
_NEWTON_STEPS = 100


@dataclass(frozen=True)
class Seen:
    """What labels said, place by place: arrays of shape [places]. A count below 1 is a label that weighs less."""

    rank: FloatArray
    answer: IntArray
    labels: FloatArray
    wrong: FloatArray  # of these labels

    @classmethod
    def none(cls) -> Seen:
        """No labels."""
        return cls(np.zeros(0), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

    @classmethod
    def each(cls, rank: FloatArray, answer: IntArray, is_wrong: BoolArray) -> Seen:
        """One label in each place."""
        return cls(rank, answer, np.ones(len(rank)), is_wrong.astype(np.float64))

    def and_also(self, other: Seen) -> Seen:
        """The labels of both."""
        return Seen(
            np.r_[self.rank, other.rank],
            np.r_[self.answer, other.answer],
            np.r_[self.labels, other.labels],
            np.r_[self.wrong, other.wrong],
        )


@dataclass(frozen=True)
class Doubt:
    """A fitted curve and how uncertain it is.

    The offsets are independent of each other once the line is known, which keeps 500 answers as cheap as two.
    """

    line: FloatArray  # [2]: intercept and slope
    offsets: FloatArray  # [answers]
    line_cov: FloatArray  # [2, 2]
    pull: FloatArray  # [answers, 2]: what a step of the line takes off each offset
    offset_sd: FloatArray  # [answers], given the line
    evidence: float

    @classmethod
    def fit(cls, seen: Seen, answers: int, earlier: Seen | None = None) -> Doubt:
        """The curve of most evidence among a few ideas of how far answers differ.

        Args:
            seen: labels of this run.
            answers: how many different ones there are.
            earlier: labels of other runs. They count only if this run's are likelier with them than without.
        """
        if earlier is None or not cls._is_borne_out(earlier, seen, answers):
            return _best_fit(seen, answers)
        return _best_fit(seen.and_also(earlier), answers)

    @classmethod
    def _is_borne_out(cls, earlier: Seen, seen: Seen, answers: int) -> bool:
        """Whether what was seen is at least as likely with the earlier labels as without them; nothing always is."""
        if not len(seen.rank):
            return True
        with_them = _best_fit(seen.and_also(earlier), answers).evidence - _best_fit(earlier, answers).evidence
        return with_them >= _best_fit(seen, answers).evidence

    def probability(self, rank: FloatArray, answer: IntArray) -> FloatArray:
        """P(wrong) of each item."""
        return _curve(self.line, self.offsets, rank, answer)

    def draw(self, random: np.random.Generator) -> Doubt:
        """Another curve that the labels allow, in proportion to how well they allow it."""
        step = np.linalg.cholesky(self.line_cov) @ random.standard_normal(2)
        offsets = self.offsets - self.pull @ step + self.offset_sd * random.standard_normal(len(self.offsets))
        return Doubt(self.line + step, offsets, self.line_cov, self.pull, self.offset_sd, self.evidence)


def _curve(line: FloatArray, offsets: FloatArray, rank: FloatArray, answer: IntArray) -> FloatArray:
    log_odds = line[0] + max(line[1], _LEAST_SLOPE) * (rank - 0.5)
    log_odds += offsets[answer]
    return _sigmoid(log_odds)


def _sigmoid(log_odds: FloatArray) -> FloatArray:
    odds: FloatArray = 1 / (1 + np.exp(-np.clip(log_odds, -30, 30)))
    return odds


def _best_fit(seen: Seen, answers: int) -> Doubt:
    fits = [_fit(seen, answers, sd) for sd in (_OFFSET_SDS if answers > 1 else (0.0,))]
    return max(fits, key=lambda fit: fit.evidence)


def _fit(seen: Seen, answers: int, offset_sd: float) -> Doubt:
    """Newton's method to the top of the posterior, and its curvature there (Laplace)."""
    x, answer, labels, wrong = seen.rank - 0.5, seen.answer, seen.labels, seen.wrong
    mean = np.array([_INTERCEPT, _SLOPE])
    precision = np.array([_INTERCEPT_SD, _SLOPE_SD]) ** -2.0
    line, offsets = mean.copy(), np.zeros(answers)
    design = np.column_stack([np.ones_like(x), x])
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(design @ line + offsets[answer])
        weight, rest = labels * p * (1 - p), wrong - labels * p
        curvature = (design * weight[:, None]).T @ design + np.diag(precision)
        gradient = design.T @ rest - precision * (line - mean)
        own, pull = np.ones(answers), np.zeros((answers, 2))
        own_gradient = np.zeros(answers)
        if offset_sd:
            own = np.bincount(answer, weight, answers) + offset_sd**-2.0
            cross = np.stack([np.bincount(answer, weight * column, answers) for column in design.T], axis=1)
            pull = cross / own[:, None]
            own_gradient = np.bincount(answer, rest, answers) - offsets * offset_sd**-2.0
            curvature = curvature - cross.T @ pull
            gradient = gradient - pull.T @ own_gradient
        step = np.linalg.solve(curvature, gradient)
        own_step = own_gradient / own - pull @ step
        line, offsets = line + np.clip(step, -2, 2), offsets + np.clip(own_step, -2, 2)
        if max(np.abs(step).max(), np.abs(own_step).max(initial=0)) < 1e-9:
            break
    log_odds = design @ line + offsets[answer]
    evidence = (wrong * log_odds - labels * np.logaddexp(0, log_odds)).sum()
    evidence -= 0.5 * (precision * (line - mean) ** 2).sum()
    evidence += 0.5 * (np.log(precision).sum() - np.linalg.slogdet(curvature)[1])
    if offset_sd:
        evidence -= 0.5 * ((offsets / offset_sd) ** 2 + np.log(own) + 2 * np.log(offset_sd)).sum()
    line_cov = np.linalg.inv(curvature).astype(np.float64)
    spread = own**-0.5 if offset_sd else np.zeros(answers)
    return Doubt(line, offsets, line_cov, pull, spread, float(evidence))
