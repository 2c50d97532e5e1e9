"""From label log-probabilities to an answer and how sure the engine is of it.

Three numbers, kept apart: ``raw_prob`` (the best label's share among the labels), ``label_mass`` (probability on any
label at all, over the whole vocabulary; low mass means the model wanted to say something else) and ``confidence``
(calibrated, or null where no calibration for exactly this model, prompt and label set is known).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import EngineError

FloatArray = NDArray[np.float64]

# Rounding lifts a sum of probabilities over 1 by far less; logits or percentages, by far more.
_MOST_MASS = 1.05


class Calibration(BaseModel):
    """A fitted map from label log-probabilities to P(right), and what it was fitted for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["temperature"]
    temperature: float = Field(gt=0, allow_inf_nan=False)
    fitted_on: int = Field(gt=0, description="labelled documents")
    prompt_fingerprint: str
    labels: tuple[str, ...]
    model_sha256: str

    def fits(self, *, prompt_fingerprint: str, labels: Sequence[str]) -> bool:
        """Whether it may be used: another prompt or label set needs another map."""
        return self.prompt_fingerprint == prompt_fingerprint and self.labels == tuple(labels)


@dataclass(frozen=True)
class Scores:
    """What the engine says of each item, as arrays of shape [items]."""

    answer: NDArray[np.int64]
    raw_prob: FloatArray
    label_mass: FloatArray
    confidence: FloatArray | None


def no_probabilities(label_logprobs: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which rows are no log-probabilities of labels: shape [items].

    A number is missing (NaN), every label is impossible (all -inf), or together they are likelier than certain. An
    engine whose numbers overflow gives such rows; what is made of them looks like answers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mass = np.exp(label_logprobs.astype(np.float64)).sum(axis=1)
    has_hope = (label_logprobs > -np.inf).any(axis=1)
    none: NDArray[np.bool_] = ~(has_hope & (mass <= _MOST_MASS))  # a comparison with NaN is false
    return none


def refuse_no_probabilities(label_logprobs: NDArray[np.floating[Any]], what: str) -> None:
    """Stop where an engine gave numbers that nothing can be made of.

    Args:
        label_logprobs: shape [items, labels].
        what: is being read, for the message.

    Raises:
        EngineError: there is such a row.
    """
    count = int(no_probabilities(label_logprobs).sum())
    if count:
        raise EngineError(
            f"the engine gave no probabilities (NaN, all zero, or over 1 together) for {count:,} of "
            f"{len(label_logprobs):,} {what}: its numbers overflow, or are no log-probabilities; set dtype (float32 or "
            "bfloat16), or leave logprobs_mode out, in the model's engine section, under another --run-id"
        )


def read_scores(label_logprobs: FloatArray, calibration: Calibration | None) -> Scores:
    """Answer and certainty of each item.

    Args:
        label_logprobs: shape [items, labels], over the whole vocabulary, before any mask or temperature.
        calibration: already checked to fit.
    """
    shares = softmax(label_logprobs)
    answer = np.argmax(shares, axis=1)
    rows = np.arange(len(shares))
    confidence = None
    if calibration is not None:
        # Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one divisor on the logits, order unchanged.
        confidence = softmax(label_logprobs / calibration.temperature)[rows, answer]
    mass = np.minimum(np.exp(label_logprobs).sum(axis=1), 1.0)  # rounding can lift it over 1 by 1e-7
    return Scores(answer, shares[rows, answer], mass, confidence)


def softmax(logits: FloatArray) -> FloatArray:
    """Shares of each row; shape [items, labels] in and out."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = shifted / shifted.sum(axis=1, keepdims=True)
    return shares
