"""Which items the engine's answer is good enough for. The one place where that is decided."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.cascade.confidence import FloatArray, Scores


class Rule(BaseModel):
    """A raw threshold on the probability that the engine itself gave the label.

    It keeps no promise: models are over-confident, and a threshold that held on one data set misses on another.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    raw_threshold: float

    def accepts(self, scores: Scores) -> NDArray[np.bool_]:
        """Shape [items]: True where the engine's label stands."""
        accepted: NDArray[np.bool_] = self.compared(scores) >= self.raw_threshold
        return accepted

    @staticmethod
    def compared(scores: Scores) -> FloatArray:
        """Shape [items]: what is held against the threshold, the probability of the label over the whole vocabulary."""
        return scores.raw_prob * scores.label_mass
