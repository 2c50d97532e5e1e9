"""One rule for when two texts name the same label: in a job, in an answer, in `pass_on`, in known answers.

Models trim, compose accents and drop what cannot be seen; so do spreadsheets. Case, the encoding of accents, the kind
and number of spaces and unseen characters therefore never tell two labels apart. Users see the job's own spelling.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache

# Zero-width marks, soft hyphens and byte order marks are of the category Cf; these two choose how a sign is drawn.
_VARIANTS = "\ufe0e\ufe0f"


def label_key(text: str) -> str:
    """What two texts share if they name the same label; empty if there is nothing to see."""
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf" and char not in _VARIANTS)
    folded = unicodedata.normalize("NFD", " ".join(seen.split())).casefold()
    return unicodedata.normalize("NFC", folded)


class LabelNames:
    """The labels of a job, to be found by any spelling of their names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_key = {label_key(name): name for name in names}

    def find(self, text: str) -> str | None:
        """The label that a text names, as the job spells it."""
        return self._by_key.get(label_key(text))


def problem_with_names(names: Collection[str]) -> str | None:
    """Why answers could not be told apart by these names; None if they can."""
    keys = Counter(map(label_key, names))
    for name in names:
        if not label_key(name):
            return "a label has an empty name"
        if keys[label_key(name)] > 1:
            return f"label '{name}' is there twice but for its case, spaces or what cannot be seen; rename one"
    return None


@lru_cache(maxsize=8)
def label_names(names: tuple[str, ...]) -> LabelNames:
    """The same for labels that are asked about again and again."""
    return LabelNames(names)
