"""Small harm done to training texts, so that the network cannot learn them by heart.

A text in, a text out; the label stays true. Seeded by the caller's generator.
"""

from __future__ import annotations

import random
import re

SENTENCE_DROP_RATE = 0.1
WORD_DROP_RATE = 0.1
TYPO_RATE = 0.03
# Some texts are spelt badly throughout.
BAD_SPELLER_RATE = 0.1
BAD_SPELLER_TYPO_RATE = 0.3
LOWERCASE_RATE = 0.1
MARK_RATE = 0.02
# How often a document that says its label says the name; else it says a part of the description.
NAME_RATE = 0.5
_NAMINGS = ("{}", "This is about {}.", "{} please", "Subject: {}", "A {} matter", "I have a question on {}")
_LEAST_WORDS = 5
# Real documents may quote the chat's own marks; they reach the network as plain text and must not sway it.
PLAIN_MARKS = ("<|im_start|>", "<|im_end|>", "<think>", "</think>", "</document>", "<document>")


def roughen(text: str, generator: random.Random) -> str:
    """Drop sentences and words, misspell some, sometimes lose the capitals, rarely quote a chat mark.

    Dropped sentences make the network use every hint of a text instead of the one that it knows best.
    """
    sentences = re.split(r"(?<=[.!?])(?=\s)", text)
    kept = "".join(sentence for sentence in sentences if generator.random() >= SENTENCE_DROP_RATE) or text
    typo_rate = BAD_SPELLER_TYPO_RATE if generator.random() < BAD_SPELLER_RATE else TYPO_RATE
    words = [word for word in re.findall(r"\s*\S+", kept) if generator.random() >= WORD_DROP_RATE]
    result = "".join(_roughen_word(word, generator, typo_rate) for word in words).strip() or text
    if generator.random() < LOWERCASE_RATE:
        result = result.lower()
    if generator.random() < MARK_RATE:
        result = f"{result} {generator.choice(PLAIN_MARKS)}"
    return result


def lengthen(text: str, times: int) -> str:
    """A long document about the same thing; whole copies, because the order of sentences can decide the label."""
    return "\n\n".join([text] * times)


def name_label(name: str, description: str, generator: random.Random) -> str:
    """A document that says its label in the very words of the prompt: what it is to be compared with."""
    if generator.random() < NAME_RATE:
        return generator.choice(_NAMINGS).format(name.replace("_", generator.choice("_ ")))
    words = description.split()
    start = generator.randrange(max(1, len(words) - _LEAST_WORDS))
    return " ".join(words[start : generator.randint(start + _LEAST_WORDS, max(start + _LEAST_WORDS, len(words)))])


def _roughen_word(word: str, generator: random.Random, typo_rate: float) -> str:
    """Swap two neighbouring letters, or lose or double one, in a few words; a word brings its leading space."""
    if len(word) < 4 or generator.random() >= typo_rate:
        return word
    at = generator.randrange(1, len(word) - 1)
    first, second = word[at], word[at + 1]
    replacement = generator.choice([second + first, first, first + first + second])
    return word[:at] + replacement + word[at + 2 :]
