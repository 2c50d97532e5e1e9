"""The gate: an adapter is worth having where the rule would ask less with it, on labels that it never saw.

In: the log-probabilities of base and adapter for the same held-back documents, and their labels. Out: the share that
the rule would ask at the target, before and after, with an interval. Nothing is promised by it: a run with the adapter
certifies on labels of its own, so an adapter that should not have passed costs money and breaks no promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.cascade.calibration import fit_temperature, measure_reliability
from pipelines.cascade.confidence import read_scores
from pipelines.cascade.rule.history import walk
from pipelines.cascade.rule.scored import AGREES, DIFFERS, Labels, Scored
from pipelines.cascade.rule.target import Target, target_steps

Logprobs = NDArray[np.float64]

LEAST_LABELS = 60
DRAWS = 60
_INTERVAL = (0.025, 0.975)
_MOST_DOCUMENTS = 20_000  # as many as change nothing more about a share
_LEAST_DOCUMENTS = 200


@dataclass(frozen=True)
class Measured:
    """One model on the held-back labels."""

    asked_share: float  # the mean over the draws
    accuracy: float
    calibration_error: float  # after a temperature, cross-fitted; as it is where too few labels allow none
    label_mass: float


@dataclass(frozen=True)
class Gate:
    """Base against adapter. ``saved`` is the difference of the shares asked, with an interval of 95 %."""

    before: Measured
    after: Measured
    saved: float
    saved_low: float
    saved_high: float
    held_back: int
    documents: int
    draws: int

    @property
    def is_better(self) -> bool:
        """Whether less would be asked, and not by luck of the held-back labels."""
        return self.saved_low > 0


def judge(
    before: Logprobs,
    after: Logprobs,
    labels: NDArray[np.int64],
    promise: Target,
    documents: int,
    seed: int,
    on_draw: Callable[[int], None] = lambda _: None,
) -> Gate:
    """Play the rule on populations drawn from the held-back documents, with both models on the very same draws.

    Args:
        before: of the model as it is, shape [documents, labels].
        after: of the model with the adapter.
        labels: the right ones.
        promise: what a run is to keep.
        documents: how many a run has.
        seed: of the draws.
        on_draw: called after each with 1.
    """
    size = int(np.clip(documents, _LEAST_DOCUMENTS, _MOST_DOCUMENTS))
    random = np.random.default_rng(seed)
    shares = np.empty((DRAWS, 2))
    for draw in range(DRAWS):
        # First which documents might have been held back, then a run over documents like these.
        held = random.integers(len(labels), size=len(labels))
        chosen = held[random.integers(len(held), size=size)]
        for model, logprobs in enumerate((before, after)):
            shares[draw, model] = asked_share(logprobs[chosen], labels[chosen], promise, seed + draw)
        on_draw(1)
    saved = shares[:, 0] - shares[:, 1]
    low, high = np.quantile(saved, _INTERVAL).tolist()
    return Gate(
        before=_measure(before, labels, float(shares[:, 0].mean()), seed),
        after=_measure(after, labels, float(shares[:, 1].mean()), seed),
        saved=float(saved.mean()),
        saved_low=low,
        saved_high=high,
        held_back=len(labels),
        documents=size,
        draws=DRAWS,
    )


def asked_share(logprobs: Logprobs, labels: NDArray[np.int64], promise: Target, seed: int) -> float:
    """The share of these documents that the rule asks about, of which all labels are known."""
    scores = read_scores(logprobs, None)
    scored = Scored(scores.raw_prob * scores.label_mass, scores.answer, seed)
    known: Labels = np.where(scores.answer == labels, AGREES, DIFFERS).astype(np.int8)
    end = walk(target_steps(scored, promise, known), known).end
    assert end is not None, "all labels are known"
    return float((~end.is_accepted).mean())


def _measure(logprobs: Logprobs, labels: NDArray[np.int64], asked: float, seed: int) -> Measured:
    scores = read_scores(logprobs, None)
    is_right = scores.answer == labels
    fitted = fit_temperature(logprobs, labels, seed).reliability
    reliability = fitted or measure_reliability(scores.raw_prob, is_right)
    return Measured(
        asked_share=asked,
        accuracy=float(is_right.mean()),
        calibration_error=reliability.expected_calibration_error,
        label_mass=float(scores.label_mass.mean()),
    )
