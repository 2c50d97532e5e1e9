"""What somebody may have meant who wrote a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like the word, whatever its case; None where nothing is close."""
    by_fold = {name.strip().casefold(): name for name in known}
    close = difflib.get_close_matches(word.strip().casefold(), by_fold, n=1)
    return by_fold[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Such as `; did you mean 'compute'`, to stand behind what is wrong; empty where nothing is close."""
    meant = closest(word, known)
    return "" if meant is None else f"; did you mean {meant!r}"
