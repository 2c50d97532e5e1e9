"""A shown text to pieces that fit a limit: cut between files, then hunks, then functions, then lines.

Each piece is a shown text of its own: it repeats the message of the change and the head of the file, and its first
hunk is headed by the class and function it stands in. A piece cut in the middle of a function starts with the last
lines of the piece before. The same text and limit always give the same pieces.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from pipelines.documents.code.cutting.boundaries import Outline
from pipelines.documents.code.reading.changes import has_new_lines
from pipelines.documents.code.records import Change, CodeFile, Hunk
from pipelines.documents.code.shown import (
    LineMap,
    code_line,
    head_lines,
    hunk_line,
    message_lines,
    read_shown,
    shown_text,
)
from pipelines.documents.readers.lines import Unreadable

# The tokens of each of several texts. A text may have fewer than its lines have together, never more: true of
# tokenizers that break at line ends, and of bytes.
Count = Callable[[list[str]], list[int]]

_OVERLAP_LINES = 5


@dataclass(frozen=True)
class Piece:
    """One part of an item: what one question to the model is about.

    ``document_id`` is the item's. ``index`` counts from 0 in the item's order.
    """

    document_id: str
    index: int
    text: str

    @cached_property
    def lines(self) -> LineMap:
        """The lines of new files that this piece shows, and with them its paths."""
        return LineMap.of(self.text)


def split(document_id: str, text: str, count: Count, limit: int) -> list[Piece]:
    """Cut a shown text into pieces of at most ``limit`` tokens, or whatever else ``count`` counts.

    Raises:
        Unreadable: a single line with what frames it is over the limit.
    """
    if count([text])[0] <= limit:
        return [Piece(document_id, 0, text)]
    change = read_shown(text)
    pieces = _Splitter(change.message, count, limit).split(change.files)
    # Nothing can be found where no line of a new file is shown: a list of deleted files, say.
    shown = (piece for piece in pieces if has_new_lines(piece))
    return [Piece(document_id, index, shown_text(piece)) for index, piece in enumerate(shown)]


class _Part(NamedTuple):
    """A hunk, or some of its lines, of one file; ``size`` with the hunk's line, without the file's head."""

    file: CodeFile
    hunk: Hunk | None  # None of a file without hunks
    size: int


class _Splitter:
    def __init__(self, message: tuple[str, ...], count: Count, limit: int) -> None:
        self._message = message
        self._count = count
        self._message_size = self._size(message_lines(Change(message, ())))
        self._room = limit - self._message_size
        self._limit = limit

    def split(self, files: Sequence[CodeFile]) -> Iterator[Change]:
        """Fill one piece after the other."""
        parts: list[_Part] = []
        used = 0
        for file in files:
            head_size = self._size(head_lines(file))
            if head_size > self._room:
                raise self._too_small(f"the head of '{file.path}'", head_size)
            for part in self._parts(file, self._room - head_size):
                new_head = head_size if not parts or parts[-1].file is not file else 0
                if parts and used + new_head + part.size > self._room:
                    yield self._change(parts)
                    parts, used, new_head = [], 0, head_size
                parts.append(part)
                used += new_head + part.size
        if parts:
            yield self._change(parts)

    def _change(self, parts: Sequence[_Part]) -> Change:
        files: list[CodeFile] = []
        for part in parts:
            hunks = (part.hunk,) if part.hunk is not None else ()
            if files and files[-1].path == part.file.path:
                files[-1] = replace(files[-1], hunks=files[-1].hunks + hunks)
            else:
                files.append(replace(part.file, hunks=hunks))
        return Change(self._message, tuple(files))

    def _parts(self, file: CodeFile, room: int) -> Iterator[_Part]:
        if not file.hunks:
            yield _Part(file, None, 0)
        for hunk in file.hunks:
            head, *sizes = self._count([_line(text) for text in (hunk_line(hunk.heading), *map(code_line, hunk.lines))])
            if head + sum(sizes) <= room:
                yield _Part(file, hunk, head + sum(sizes))
            else:
                yield from self._cut(file, hunk, sizes, room)

    def _cut(self, file: CodeFile, hunk: Hunk, sizes: Sequence[int], room: int) -> Iterator[_Part]:
        ends = [0, *accumulate(sizes)]
        outline = _HunkOutline(file.path, hunk)
        start = 0
        while start < len(hunk.lines):
            heading = outline.heading(start)
            head_size = self._size([hunk_line(heading)])
            if head_size + sizes[start] > room:  # rather the line without what it stands in than not at all
                heading, head_size = "", self._size([hunk_line("")])
            if head_size + sizes[start] > room:
                line = hunk.lines[start]
                where = f"line {line.number}" if line.number is not None else "a removed line"
                raise self._too_small(f"{where} of '{file.path}'", sizes[start])
            first = start - self._overlap(outline, ends, start, room - head_size - sizes[start])
            fitting = bisect_right(ends, ends[first] + room - head_size) - 1
            end = outline.best_cut(start, fitting)
            yield _Part(file, Hunk(heading, hunk.lines[first:end]), head_size + ends[end] - ends[first])
            start = end

    @staticmethod
    def _overlap(outline: _HunkOutline, ends: Sequence[int], start: int, room: int) -> int:
        """How many lines of the part before to show again: none where nothing was torn apart, a quarter at most."""
        if start == 0 or not outline.is_inside(start):
            return 0
        lines = min(_OVERLAP_LINES, start)
        while lines and ends[start] - ends[start - lines] > room // 4:
            lines -= 1
        return lines

    def _too_small(self, what: str, size: int) -> Unreadable:
        return Unreadable(
            f"{what} does not fit: it takes {size} of the {self._limit} tokens of a piece, and the message takes "
            f"{self._limit - self._room}; choose a model with a longer context or leave the file out"
        )

    def _size(self, lines: Sequence[str]) -> int:
        return sum(self._count([_line(line) for line in lines])) if lines else 0


class _HunkOutline:
    """The outline of a hunk's new side, by positions in the hunk; removed lines stay with the line that follows."""

    def __init__(self, path: str, hunk: Hunk) -> None:
        self._hunk = hunk
        self._outline = Outline(path, [line.text for line in hunk.lines if line.number is not None])
        self._rows = [0, *accumulate(line.number is not None for line in hunk.lines)]

    def heading(self, position: int) -> str:
        """What the line stands in: by the lines above it, else by the hunk's own heading if it is indented."""
        if position == 0:
            return self._hunk.heading
        is_indented = self._hunk.lines[position].text[:1].isspace()
        return self._outline.heading(self._rows[position]) or (self._hunk.heading if is_indented else "")

    def is_inside(self, position: int) -> bool:
        """Whether a cut before this line tears something apart."""
        return self._outline.is_inside(self._rows[position]) or self._follows_removed(position)

    def best_cut(self, start: int, fitting: int) -> int:
        """The best place to end a part that starts at ``start`` and has room up to ``fitting``: in its second half."""
        if fitting == len(self._hunk.lines):
            return fitting
        candidates = range(fitting, max(start, (start + fitting) // 2), -1)
        return min(candidates, key=self._cost)

    def _cost(self, position: int) -> tuple[bool, int]:
        return self._follows_removed(position), self._outline.cut_cost(self._rows[position])

    def _follows_removed(self, position: int) -> bool:
        return position > 0 and self._hunk.lines[position - 1].sign == "-"


def _line(text: str) -> str:
    return f"{text}\n"
