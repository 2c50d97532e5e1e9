"""The hand-written pieces: functions in two forms, with a fault and without.

A piece in `pieces/*.txt` begins with `## category`; `heldout` behind it keeps it out of training. The first column of
each line says where the line belongs: ` ` in both forms, `+` in the clean one, `-` in the faulty one, `!` in the faulty
one and part of the fault, `@` among the imports of the file. Words in `<…>` are slots, filled by `words`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CLEAN = "clean"
SUFFIXES = {"python": ".py", "javascript": ".js", "go": ".go", "sql": ".sql"}

_SLOT = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Code:
    """Lines of a program; ``first`` and ``last`` are the rows (0-based) of its fault, or where it has been avoided."""

    lines: tuple[str, ...]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One function or statement; ``rows`` are its lines with their marks."""

    category: str
    language: str
    is_heldout: bool
    imports: tuple[str, ...]
    rows: tuple[str, ...]

    @property
    def can_be_faulty(self) -> bool:
        """Whether it has a faulty form."""
        return self.category != CLEAN

    def render(self, words: Mapping[str, str], is_faulty: bool) -> Code:
        """Fill the slots of one form."""
        chosen = [row for row in self.rows if row[0] in (" -!" if is_faulty else " +")]
        marked = [place for place, row in enumerate(chosen) if row[0] in "!+" and row[1:].strip()] or [0]
        return Code(tuple(fill(row[1:], words) for row in chosen), marked[0], marked[-1])


@dataclass(frozen=True, slots=True)
class Function:
    """A piece with its slots filled; ``comment`` stands above it, unless it is empty."""

    piece: Piece
    words: Mapping[str, str]
    is_faulty: bool
    comment: str = ""

    def render(self) -> Code:
        """Its lines, and where its fault is."""
        code = self.piece.render(self.words, self.is_faulty)
        if not self.comment:
            return code
        return Code((self.comment, *code.lines), code.first + 1, code.last + 1)


def fill(text: str, words: Mapping[str, str]) -> str:
    """Put words into the slots of a text; `<…>` that is no slot's name stays as it is."""
    return _SLOT.sub(lambda slot: words.get(slot[1], slot[0]), text)


@cache
def read_pieces() -> tuple[Piece, ...]:
    """All pieces, in the order of the files."""
    folder = Path(__file__).with_name("pieces")
    return tuple(
        _piece(language, block)
        for language in SUFFIXES
        for block in (folder / f"{language}.txt").read_text(encoding="utf-8").split("## ")[1:]
    )


def _piece(language: str, block: str) -> Piece:
    head, *lines = block.rstrip("\n").split("\n")
    category, *flags = head.split()
    imports = tuple(line[1:] for line in lines if line.startswith("@"))
    rows = tuple(line for line in lines if not line.startswith("@"))
    return Piece(category, language, flags == ["heldout"], imports, rows)
