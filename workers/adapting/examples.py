"""Labelled prompts as an engine reads them: token ids of the document, and of the frame around it in some order.

Knows nothing of torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.engines.tokens import TokenFrame

Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Example:
    """A document's token ids, and the number of its label in the job's order."""

    tokens: Tokens
    label: int


@dataclass(frozen=True)
class OrderedFrame:
    """The engine's frame with the labels in one order: at each place of the codes, the number of a label."""

    frame: TokenFrame
    order: tuple[int, ...]

    def code(self, label: int) -> int:
        """The token that answers with this label."""
        return self.frame.codes[self.order.index(label)]

    @property
    def codes(self) -> list[int]:
        """The label's tokens in the order of the job's labels."""
        return [self.code(label) for label in range(len(self.order))]


@dataclass(frozen=True)
class Batch:
    """Examples of alike length and the frame that they are read in."""

    examples: Sequence[Example]
    frame: OrderedFrame


def batches(
    examples: Sequence[Example], served: Sequence[OrderedFrame], shuffled: Sequence[OrderedFrame], size: int, seed: int
) -> Iterator[Batch]:
    """One epoch: every example once, the same for the same seed.

    Half the batches are read as the engine will read them, the others with the labels in another order: what is learnt
    is then the labels' meaning rather than their letters.

    Args:
        examples: all of them.
        served: the frames of the job.
        shuffled: others of the same labels; may be none.
        size: of a batch.
        seed: of this epoch.
    """
    generator = np.random.default_rng(seed)
    # A little noise on the length, so that the same documents do not always meet.
    lengths = {place: len(each.tokens) * generator.uniform(0.8, 1.2) for place, each in enumerate(examples)}
    order = sorted(lengths, key=lengths.__getitem__)
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    generator.shuffle(groups)
    for group in groups:
        frames = shuffled if shuffled and generator.random() < 0.5 else served
        yield Batch([examples[place] for place in group], frames[int(generator.integers(len(frames)))])
