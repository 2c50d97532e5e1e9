"""Windows over the tokens of a long document: as many as cover it, each sharing some tokens with the one before.

In: tokens and their places in the text. Out: rows of the plan's column `WINDOWS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.documents.long.pieces import LongTokens


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a document, by its tokens and by the characters that these stand for.

    ``bytes`` are those of the characters in UTF-8: what they take in a request.
    """

    first_token: int
    tokens: int
    first_char: int
    chars: int
    bytes: int


def window_count(tokens: int, window_tokens: int, overlap_tokens: int) -> int:
    """How many windows cover so many tokens."""
    if tokens <= window_tokens:
        return 1
    step = window_tokens - overlap_tokens
    return -(-(tokens - overlap_tokens) // step)


def windows_of(text: str, tokens: LongTokens, window_tokens: int, overlap_tokens: int) -> list[Window]:
    """The windows of a text, in its order; the last one is shorter, and longer than what it shares.

    Args:
        text: as it was tokenised.
        tokens: of the text.
        window_tokens: that are read at once.
        overlap_tokens: that a window shares with the one before; less than a window.
    """
    step = window_tokens - overlap_tokens
    count = window_count(len(tokens), window_tokens, overlap_tokens)
    return [window(text, tokens, at * step, min(at * step + window_tokens, len(tokens))) for at in range(count)]


def window(text: str, tokens: LongTokens, first: int, end: int) -> Window:
    """The stretch of these tokens; one that begins or ends the document has all characters there."""
    first_char = int(tokens.places[first]) if first else 0
    end_char = int(tokens.places[end]) if end < len(tokens) else len(text)
    shown = text[first_char:end_char]
    return Window(first, end - first, first_char, len(shown), len(shown.encode()))
