"""Code as a review sees it: a change of files, each in hunks of numbered lines; and what was left out of it.

Line numbers are those of the new file, 1-based: the only ones that a finding may name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.documents.records import LeftOut as LeftOut
from pipelines.documents.records import Reason as Reason

Sign = Literal[" ", "+", "-", "\\"]
Status = Literal["added", "modified", "deleted", "renamed", "copied", "whole"]


@dataclass(frozen=True, slots=True)
class CodeLine:
    """One line: unchanged (" "), added ("+") or removed ("-"); or `NO_NEWLINE`.

    ``number`` is None for removed lines and `NO_NEWLINE`, which are not in the new file.
    """

    number: int | None
    sign: Sign
    text: str


NO_NEWLINE = CodeLine(None, "\\", "")  # says that the line before it ends the file without a newline


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that follow each other in the file; ``heading`` is what they stand in, e.g. the head of a function."""

    heading: str
    lines: tuple[CodeLine, ...]


@dataclass(frozen=True, slots=True)
class CodeFile:
    """One file of a change, or a ``whole`` file. ``old_path`` is set where it was renamed or copied."""

    path: str
    status: Status
    hunks: tuple[Hunk, ...]
    old_path: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What one item shows: the message of its commit or patch, line by line, and its files."""

    message: tuple[str, ...]
    files: tuple[CodeFile, ...]
