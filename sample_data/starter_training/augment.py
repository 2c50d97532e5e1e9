"""Small harm done to training texts, so that the network cannot learn them by heart.

A text in, a text out; the label stays true. Seeded by the caller's generator.
"""

from __future__ import annotations

import random
import re

WORD_DROP_RATE = 0.06
TYPO_RATE = 0.03
LOWERCASE_RATE = 0.1
MARK_RATE = 0.02
# Real documents may quote the chat's own marks; they reach the network as plain text and must not sway it.
PLAIN_MARKS = ("<|im_start|>", "<|im_end|>", "<think>", "</think>", "</document>", "<document>")


def roughen(text: str, generator: random.Random) -> str:
    """Drop and misspell some words, sometimes lose the capitals, rarely quote a chat mark."""
    pieces = re.split(r"(\s+)", text)
    kept = [_roughen_word(piece, generator) for piece in pieces if piece.isspace() or _survives(generator)]
    result = "".join(kept).strip() or text
    if generator.random() < LOWERCASE_RATE:
        result = result.lower()
    if generator.random() < MARK_RATE:
        result = f"{result} {generator.choice(PLAIN_MARKS)}"
    return result


def lengthen(text: str, times: int) -> str:
    """A long document about the same thing; whole copies, because the order of sentences can decide the label."""
    return "\n\n".join([text] * times)


def _survives(generator: random.Random) -> bool:
    return generator.random() >= WORD_DROP_RATE


def _roughen_word(word: str, generator: random.Random) -> str:
    """Swap two neighbouring letters, or lose or double one, in a few words."""
    if len(word) < 3 or word.isspace() or generator.random() >= TYPO_RATE:
        return word
    at = generator.randrange(len(word) - 1)
    first, second = word[at], word[at + 1]
    replacement = generator.choice([second + first, first, first + first + second])
    return word[:at] + replacement + word[at + 2 :]
