"""A look back at what was accepted: a uniform sample asked afterwards, its exact limit, and what moved between runs.

The audit is a check apart from the promise: it is drawn once the run is settled, and nothing is decided by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.cascade.rule.bounds import most_wrong
from pipelines.cascade.rule.scored import Scored

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Audit:
    """Of ``accepted`` items, at least ``agreement_lower`` agree with Claude, with the assurance asked for."""

    accepted: int
    sample: int
    sample_wrong: int
    agreement_lower: float


@dataclass(frozen=True)
class Drift:
    """How far a run is from an earlier one; 0 is the same, 1 nothing in common.

    Two runs over the very same kind of documents differ a little by chance: about 1/sqrt(items).
    """

    label_mix: float  # total variation: the share of items that would have to change their answer
    confidence: float  # Kolmogorov-Smirnov: the largest gap between the two cumulative curves
    agreement: float | None  # the change of the measured share, from -1 to 1; None where either run has no sample


def audit_items(scored: Scored, is_accepted: NDArray[np.bool_], size: int) -> IntArray:
    """Draw accepted items, uniformly and without replacement; always the same ones of the same run."""
    items = np.flatnonzero(is_accepted)
    return items[np.argsort(scored.chance("audit")[items])[:size]]


def audit(accepted: int, sample: int, sample_wrong: int, assurance: float) -> Audit:
    """The exact limit that a uniform sample of the accepted items gives."""
    limit = most_wrong(sample_wrong, items=accepted, drawn=sample, delta=1 - assurance)
    return Audit(accepted, sample, sample_wrong, 1 - limit / accepted if accepted else 1.0)


def label_mix_distance(before: IntArray, now: IntArray) -> float:
    """Between two tables of how many items got each label, in the same order of labels; neither may be empty."""
    return float(np.abs(before / before.sum() - now / now.sum()).sum() / 2)


def confidence_distance(before: FloatArray, now: FloatArray) -> float:
    """Between two runs' confidences; neither may be empty."""
    at = np.sort(np.concatenate([before, now]))
    shares = [np.searchsorted(np.sort(run), at, "right") / len(run) for run in (before, now)]
    return float(np.abs(shares[0] - shares[1]).max())


def measure_drift(
    label_counts: tuple[IntArray, IntArray],
    confidences: tuple[FloatArray, FloatArray],
    agreements: tuple[float | None, float | None],
) -> Drift:
    """Each pair is the earlier run's, then this run's."""
    was, now = agreements
    return Drift(
        label_mix=label_mix_distance(*label_counts),
        confidence=confidence_distance(*confidences),
        agreement=None if was is None or now is None else now - was,
    )
