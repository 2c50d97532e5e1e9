"""A long text to token ids, piece by piece, with the place of each token: memory holds a few pieces' work at a time.

A tokenizer makes of the parts of a text what it makes of the whole only if the joint between them is one of its own. So
each joint is tried: the characters around it, tokenised together, must give what both sides give apart. Tokenizers look
no further than a word or a run of white space, which the tried characters are more than.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

# Of each text: the token ids, and the character that each token begins with.
TokenizeWithPlaces = Callable[[list[str]], list[tuple[list[int], list[int]]]]

PIECE_CHARS = 32_768
_PIECES_AT_A_TIME = 8  # tokenised side by side
# Joints that are tried, and characters on each side of one; then any will do.
_TRIED, _AROUND = 8, 160
_SEARCHED_CHARS = 2_048
# Before white space, where most tokenizers begin a word, and behind punctuation, that of Chinese and Japanese included.
_JOINT = re.compile(r"(?<=\S)(?=\s)|(?<=[.,;:!?\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])(?=\w)")


@dataclass(frozen=True)
class LongTokens:
    """Arrays of shape [tokens]: ``ids``, and ``places``, the character of the text that each token begins with."""

    ids: NDArray[np.int32]
    places: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def tokenize_long(text: str, tokenize: TokenizeWithPlaces, piece_chars: int = PIECE_CHARS) -> LongTokens:
    """Token ids of a text of any length: those of the whole text, where it has joints to cut it at.

    A text without one, some thousand characters of no word the tokenizer knows an end of, is cut all the same: the
    tokens next to that cut may be others than those of the whole. No character is lost in any case.
    """
    ids, places = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    cut = _pieces(text, tokenize, piece_chars)
    while pieces := list(islice(cut, _PIECES_AT_A_TIME)):
        for (first, _), (piece_ids, piece_places) in zip(pieces, tokenize([each for _, each in pieces]), strict=True):
            ids.append(np.array(piece_ids, np.int32))
            places.append(np.array(piece_places, np.int32) + first)
    # Tokens of one character's bytes share its place; what changes a text before it is cut may tell places in disorder.
    return LongTokens(np.concatenate(ids), np.maximum.accumulate(np.concatenate(places)))


def _pieces(text: str, tokenize: TokenizeWithPlaces, piece_chars: int) -> Iterator[tuple[int, str]]:
    """Where each piece begins, and the piece."""
    first = 0
    while len(text) - first > piece_chars:
        cut = _joint(text, first, first + piece_chars, tokenize)
        yield first, text[first:cut]
        first = cut
    yield first, text[first:]


def _joint(text: str, first: int, last: int, tokenize: TokenizeWithPlaces) -> int:
    """The last joint in a stretch at which both sides are tokenised as if they were together."""
    searched = max(first + 1, last - _SEARCHED_CHARS)
    found = [match.start() for match in _JOINT.finditer(text, searched, last + 1)]
    for place in reversed(found[-_TRIED:]):
        left, right = text[max(first, place - _AROUND) : place], text[place : place + _AROUND]
        (together, _), (before, _), (after, _) = tokenize([left + right, left, right])
        if together == before + after:
            return place
    return found[-1] if found else last
