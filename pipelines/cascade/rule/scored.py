"""What the rule is told of a run's items, and chance that a resumed run throws again the same way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.cascade.rule.doubt import BoolArray, FloatArray, IntArray, Seen

Labels = NDArray[np.int8]

# What is known of an item. One that Claude was asked and left without an answer counts as wrong wherever wrong items
# are counted: it is not accepted either, so every promise stays true.
UNASKED: Final = -1
AGREES: Final = 0
DIFFERS: Final = 1
UNANSWERED: Final = 2


@dataclass(frozen=True)
class Scored:
    """Items that may be sent to Claude; ``confidence`` and ``answer`` are arrays with one place for each.

    ``confidence`` may be on any scale on which more is surer; NaN, an item without any, is least sure.
    ``answer`` is the engine's answer as a number, any numbers. ``seed`` belongs to the run and is never changed;
    nor is ``earlier``, what the labels of other runs said, the newest first (see `earlier`). Where ``is_answered`` is
    there and False, the engine's answer could not be read: such an item is asked about, and never accepted.
    """

    confidence: FloatArray
    answer: IntArray
    seed: int
    earlier: tuple[Seen, ...] = ()
    is_answered: BoolArray | None = None

    def __post_init__(self) -> None:
        if self.confidence.ndim != 1 or self.confidence.shape != self.answer.shape:
            shapes = f"{self.confidence.shape} and {self.answer.shape}"
            raise ValueError(f"confidence and answer must be two lists of the same length; they are {shapes}")
        if self.is_answered is not None and self.is_answered.shape != self.answer.shape:
            raise ValueError(f"is_answered must be as long as answer; they are {self.is_answered.shape} and {shapes}")

    def __len__(self) -> int:
        return len(self.confidence)

    @cached_property
    def order(self) -> IntArray:
        """Item numbers, surest first, ties in an order that chance has set."""
        order: IntArray = np.lexsort((self.chance("ties"), -self.confidence))
        return order

    @cached_property
    def has_no_answer(self) -> BoolArray:
        """Whether each was left without one that can be read."""
        return np.zeros(len(self), np.bool_) if self.is_answered is None else ~self.is_answered

    @cached_property
    def place(self) -> IntArray:
        """Each item's place in that order."""
        place = np.empty(len(self), np.int64)
        place[self.order] = np.arange(len(self))
        return place

    @cached_property
    def rank(self) -> FloatArray:
        """The place as a share, between 0 and 1; items of equal confidence have the middle of theirs in common."""
        ordered = self.confidence[self.order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(self)])
        ends = np.r_[starts[1:], len(self)][: len(starts)]
        rank = np.empty(len(self))
        rank[self.order] = np.repeat((starts + ends) / 2, ends - starts) / max(len(self), 1)
        return rank

    @property
    def answers(self) -> IntArray:
        """The different ones, in order."""
        return self._numbered[0]

    @property
    def codes(self) -> IntArray:
        """The answers numbered from 0."""
        return self._numbered[1]

    @cached_property
    def _numbered(self) -> tuple[IntArray, IntArray]:
        answers, codes = np.unique(self.answer, return_inverse=True)
        return answers, codes.astype(np.int64)

    def chance(self, purpose: str) -> NDArray[np.uint64]:
        """One random number per item.

        From the raw bits of a generator, which numpy promises never to change; what `numpy.random.Generator` makes of
        them may change with a release, and a resumed run would ask other items.
        """
        bits: NDArray[np.uint64] = self._bits(purpose).random_raw(len(self))
        return bits

    def generator(self, purpose: str) -> np.random.Generator:
        """For simulations, which no promise rests on."""
        return np.random.Generator(self._bits(purpose))

    def _bits(self, purpose: str) -> np.random.PCG64:
        return np.random.PCG64([self.seed, *purpose.encode()])
