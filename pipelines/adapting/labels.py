"""Which labelled documents train an adapter, and which are held back to judge it.

Judged is on documents that were drawn by chance: labels bought because an item was doubtful would tell of doubtful
ones alone. Knows nothing of stores.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.cascade.rule.doubt import IntArray
from pipelines.cascade.rule.history import Ask

Source = Literal["gold", "people", "claude", "engine"]

# Where the runs' own samples are few, one in four documents with gold labels is held back too.
_HELD_BACK_OF, _ENOUGH_SAMPLES = 4, 150
# Beside labels of doubtful documents alone, a slice of what the engine is surest of, or the easy part is forgotten. Of
# the surest: a target lets many of the least sure accepted answers be wrong.
_SLICE_OF = 3
# A small adapter learns little from more, and a gate's interval is narrow by then.
_MOST_TRAINING, _MOST_HELD_BACK = 20_000, 5_000


@dataclass(frozen=True)
class Labelled:
    """A document of a run and its label.

    ``is_uniform``: drawn by chance, by the run's own rule; ``sureness``: of the engine, where the label is its own.
    """

    item_id: str
    tokens: NDArray[np.int32]
    label: int
    source: Source
    is_uniform: bool
    sureness: float = 0.0


@dataclass(frozen=True)
class Division:
    """What is trained on and what is held back; no document is in both."""

    training: tuple[Labelled, ...]
    held_back: tuple[Labelled, ...]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many labels of each source are in each."""
        parts = {"training": self.training, "held_back": self.held_back}
        return {name: dict(sorted(Counter(each.source for each in part).items())) for name, part in parts.items()}


def divide(labelled: Sequence[Labelled]) -> Division:
    """Divide them; a document that several runs have read is on one side only."""
    samples = sum(each.is_uniform and each.source != "engine" for each in labelled)
    needs_gold = samples < _ENOUGH_SAMPLES
    held: dict[bytes, Labelled] = {}
    training: dict[bytes, Labelled] = {}
    for each in labelled:
        if each.source == "engine":
            continue
        text = each.tokens.tobytes()
        is_held = each.is_uniform or (needs_gold and each.source == "gold" and _chance(text) % _HELD_BACK_OF == 0)
        (held if is_held else training)[text] = each
    own = _some({text: each for text, each in training.items() if text not in held}, _MOST_TRAINING)
    slice_of_accepted = _slice_of_accepted(labelled, own, held)
    return Division((*own.values(), *slice_of_accepted), tuple(_some(held, _MOST_HELD_BACK).values()))


def accepted_needed(labels: int) -> int:
    """How many of the engine's own answers are taken beside so many labels of doubtful documents."""
    return labels // _SLICE_OF


def _some(labelled: dict[bytes, Labelled], most: int) -> dict[bytes, Labelled]:
    """At most so many, drawn by chance."""
    if len(labelled) <= most:
        return labelled
    return {text: labelled[text] for text in sorted(labelled, key=_chance)[:most]}


def _slice_of_accepted(
    labelled: Sequence[Labelled], own: dict[bytes, Labelled], held: dict[bytes, Labelled]
) -> list[Labelled]:
    if any(each.source == "gold" for each in own.values()):
        return []  # gold labels tell of easy documents too
    accepted = {each.tokens.tobytes(): each for each in labelled if each.source == "engine"}
    free = [text for text in accepted if text not in own and text not in held]
    free.sort(key=lambda text: (-accepted[text].sureness, _chance(text)))
    return [accepted[text] for text in free[: accepted_needed(len(own))]]


def _chance(text: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"held back\x00" + text).digest()[:8], "big")


def at_one_rate(asks: Sequence[Ask], random: np.random.Generator) -> IntArray:
    """Items that a rule bought at one rate, sure or doubtful: as good as drawn at random from all items.

    The certifying sample is drawn from a stretch of the ranking alone; of what was asked outside of it before it was
    known what may stand, which is all of the rest, as large a share is taken.

    Args:
        asks: finished batches of a rule.
        random: for the share of the rest.

    Returns:
        Places of items; none where nothing was drawn.
    """
    bought = [ask for ask in asks if ask.stage != "escalate"]
    draw = next((ask.draw for ask in bought if ask.draw is not None), None)
    if draw is None:
        return np.zeros(0, np.int64)
    outside = np.setdiff1d(np.concatenate([ask.items for ask in bought]), draw.of)
    is_taken = random.random(len(outside)) < len(draw.sample) / len(draw.of)
    taken: IntArray = np.concatenate([draw.sample, outside[is_taken]])
    return taken
