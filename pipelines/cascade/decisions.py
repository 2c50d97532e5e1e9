"""Which items the engine's answer is good enough for: what is decided about each, and the rule that looks at one alone.

A target or a budget decides over the whole run instead, in `pipelines.cascade.rule`; both end in `Decisions`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipelines.cascade.answer_offsets import AnswerOffsets
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


@dataclass(frozen=True)
class Decisions:
    """What is decided about a shard's scored items, in the plan's order: shape [scored items].

    ``temperature`` is what the run's own labels taught of how sure the engine is, where a target or a budget bought
    some; None where they taught nothing, or each item was decided by itself. ``by_answer`` corrects it, where they
    taught that too.
    """

    is_accepted: NDArray[np.bool_]
    temperature: float | None = None
    by_answer: AnswerOffsets | None = None


def decide(rule: Rule, scores: Scores) -> Decisions:
    """Decide each item by itself, by a threshold on its confidence."""
    return Decisions(rule.accepts(scores))
