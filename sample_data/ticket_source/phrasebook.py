"""Phrase banks and their expansion.

In: the YAML files of `phrases/`, whose leaves are blocks with one phrase a line. A phrase may hold
choices, `[this|or this]`, nested at will, and `{slots}` that are facts of the document. Out: sentences.
Knows nothing of classes, documents or files.

Held-out documents draw from phrases that training never sees, beside those it does: of every bank some phrases
are held out, decided by a hash of the phrase, so that a new phrase never moves an old one across.
"""

import hashlib
import random
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Split = Literal["train", "heldout"]

PHRASES = Path(__file__).parent / "phrases"
CONTRACTING_SHARE = 0.55  # of writers say "don't"

_INNERMOST_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SENTENCE_START = re.compile(r"(^|[.!?]\s+|\n\s*)([a-zäöüéà])")
_AGREEMENT = (  # {I} may be "we"; the banks are written for "I"
    (re.compile(r"\b([Ww])e am\b"), r"\1e are"),
    (re.compile(r"\b([Ww])e was\b"), r"\1e were"),
    (re.compile(r"\b([Aa])m we\b"), r"\1re we"),
    (re.compile(r"\bwas we\b"), "were we"),
)


@cache
def load_bank(name: str) -> dict[str, Any]:
    """Read one file of `phrases/`."""
    loaded = yaml.safe_load((PHRASES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@cache
def class_names() -> tuple[str, ...]:
    """List the classes in the order of labels.yaml; each has a phrase file of its name."""
    labels = PHRASES.parents[1] / "tickets" / "labels.yaml"
    return tuple(yaml.safe_load(labels.read_text(encoding="utf-8"))["labels"])


@cache
def phrase_side(phrase: str) -> Literal["heldout", "unused", "both"]:
    """Say which split may use a phrase: a tenth is held out, a tenth is in reserve, the rest is for both."""
    bucket = hashlib.sha256(phrase.encode()).digest()[0] % 10
    return "heldout" if bucket < 1 else "unused" if bucket < 2 else "both"


def by_hash(phrases: Iterable[str]) -> list[str]:
    """Order phrases by their hash: at random, yet the same tomorrow."""
    return sorted(phrases, key=lambda phrase: hashlib.sha256(phrase.encode()).digest())


@cache
def split_phrases(block: str, split: Split, separator: str = "\n") -> tuple[str, ...]:
    """List the phrases of a block that a split may use; a bank never comes out empty."""
    phrases = tuple(part.strip() for part in block.strip().split(separator))
    if len(phrases) < 3:
        return phrases
    if len(phrases) == 3:  # one is held out, whatever the hash says
        return phrases if split == "heldout" else tuple(by_hash(phrases)[1:])
    return tuple(p for p in phrases if phrase_side(p) in (split, "both")) or phrases


@cache
def disjoint_phrases(block: str, split: Split) -> tuple[str, ...]:
    """Keep two fifths of the phrases of a block from training; half of these are held out, half in reserve."""
    ordered = by_hash(block.strip().split("\n"))
    kept_count = max(1, len(ordered) * 2 // 5)
    return tuple(ordered[kept_count // 2 :] if split == "heldout" else ordered[kept_count:])


_CONTRACTIONS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b([Dd]o|[Dd]oes|[Dd]id|[Ii]s|[Aa]re|[Ww]as|[Ww]ere|[Hh]as|[Hh]ave) not\b", r"\1n't"),
        (r"\b([Cc]ould|[Ww]ould|[Ss]hould) not\b", r"\1n't"),
        (r"\b([Cc]an)not\b", r"\1't"),
        (r"\b([Ww])ill not\b", r"\1on't"),
        (r"(?<![Ww]hat )(?<!how )\b([Ii]t|[Tt]hat|[Tt]here) is(?= \w)", r"\1's"),
        (r"\bI am(?= \w)", "I'm"),
        (r"\b([Ww]e) are(?= \w)", r"\1're"),
        (r"\b(I|[Ww]e) would like\b", r"\1'd like"),
        (r"\b(I|[Ww]e|[Yy]ou) will(?= \w)", r"\1'll"),
    )
)


def contract(text: str) -> str:
    """Write "don't" for "do not", and the like."""
    for pattern, replacement in _CONTRACTIONS:
        text = pattern.sub(replacement, text)
    return text


def expand(phrase: str, facts: Mapping[str, str], rng: random.Random) -> str:
    """Resolve the choices and slots of a phrase, and capitalise its sentences."""

    def choose(match: re.Match[str]) -> str:
        options: list[str] = match.group(1).split("|")
        return rng.choice(options)

    def capitalise(match: re.Match[str]) -> str:
        return f"{match.group(1)}{match.group(2).upper()}"

    while _INNERMOST_CHOICE.search(phrase):
        phrase = _INNERMOST_CHOICE.sub(choose, phrase)
    text = phrase.format_map(facts)
    for pattern, replacement in _AGREEMENT:
        text = pattern.sub(replacement, text)
    return _SENTENCE_START.sub(capitalise, text)


class Author:
    """Draws sentences for one document: the same facts throughout, no phrase twice."""

    def __init__(self, facts: Mapping[str, str], split: Split, rng: random.Random) -> None:
        self.facts = facts
        self.split: Split = split
        self.rng = rng
        self.contracts = rng.random() < CONTRACTING_SHARE
        self._used: set[str] = set()

    def draw(self, block: str, count: int = 1, *, disjoint: bool = False) -> list[str]:
        """Write up to `count` sentences from a block, fewer when it runs out.

        With `disjoint` a quarter of what held-out documents draw is unknown to training, rather than a tenth:
        openings and what is meant to mislead must not be learnt by heart.
        """
        allowed = disjoint_phrases(block, self.split) if disjoint else split_phrases(block, self.split)
        fresh = [p for p in allowed if p not in self._used]
        chosen = self.rng.sample(fresh, min(count, len(fresh)))
        self._used.update(chosen)
        return [self._say(phrase) for phrase in chosen]

    def line(self, block: str) -> str:
        """Write one sentence; an exhausted block may repeat itself."""
        drawn = self.draw(block)
        return drawn[0] if drawn else self._say(self.rng.choice(split_phrases(block, self.split)))

    def _say(self, phrase: str) -> str:
        sentence = expand(phrase, self.facts, self.rng)
        return contract(sentence) if self.contracts else sentence
