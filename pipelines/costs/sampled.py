"""What a whole run would come to, by a sample of its items: totals with the interval that chance leaves open.

In: a figure of each sampled item. Out: its total over all items, with limits that hold for 95 samples of a hundred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z = 1.96  # two-sided, 95 %


@dataclass(frozen=True)
class Total:
    """About so much, between ``least`` and ``most``."""

    about: float
    least: float
    most: float

    def times(self, factor: float) -> Total:
        """In another unit."""
        return Total(self.about * factor, self.least * factor, self.most * factor)

    def plus(self, constant: float) -> Total:
        """With something that is known beside it."""
        return Total(self.about + constant, self.least + constant, self.most + constant)


def total_of(sampled: NDArray[np.float64], items: int) -> Total:
    """The total of a figure that no item has less than nothing of; of a sample of all items, exact."""
    if not len(sampled) or not items:
        return Total(0.0, 0.0, 0.0)
    mean = float(sampled.mean())
    error = float(sampled.std(ddof=1)) / math.sqrt(len(sampled)) if len(sampled) > 1 else mean
    # Drawn without putting back: the more of all there is in the sample, the less is left to chance.
    left = math.sqrt(max(0.0, 1 - len(sampled) / items))
    width = _Z * error * left
    return Total(mean * items, max(0.0, mean - width) * items, (mean + width) * items)
