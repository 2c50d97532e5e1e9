"""Cuts JSON that is not one object a line into its values: an array of them, or objects written over several lines.

In: a stream. Out: the bytes of one value after the other, numbered from 1, in memory that the document limit bounds.
Only brackets and quotes are looked at; whether a value is valid JSON is for whoever parses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pipelines.documents.readers.lines import CUT_OFF, DAMAGED_STREAM, READ_BYTES, Line, PendingLine, Utf8Stream

Shape = Literal["lines", "array", "objects"]

_ARRAY = re.compile(rb"\s*\[\s*[{\]]")
_OBJECT_OVER_LINES = re.compile(rb"\s*\{[ \t\r]*\n\s*[\"}]")
_BRACKETS = re.compile(rb'["{}\[\],]')
_IN_STRING = re.compile(rb'["\\\\]')
_BETWEEN = b" \t\r\n,"


def shape_of(head: bytes) -> Shape:
    """How a JSON file is written, by its first bytes."""
    if _ARRAY.match(head):
        return "array"
    return "objects" if _OBJECT_OVER_LINES.match(head) else "lines"


def read_values(stream: Utf8Stream, limit_bytes: int, *, in_array: bool) -> Iterator[Line]:
    """The values of an array, or one after the other; a damaged or cut stream ends in a problem."""
    cutter = _Cutter(limit_bytes, in_array)
    try:
        while block := stream.read1(READ_BYTES):
            yield from cutter.cut(block)
    except DAMAGED_STREAM:
        yield Line(cutter.number, b"", CUT_OFF)
        return
    yield from cutter.rest()


class _Cutter:
    """Where the scan stands: how deep in brackets, whether in a string, and the value that is being gathered."""

    def __init__(self, limit_bytes: int, in_array: bool) -> None:
        self.number = 1
        self._pending = PendingLine(limit_bytes)
        self._outside = 1 if in_array else 0  # how deep one is between two values
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def cut(self, block: bytes) -> Iterator[Line]:
        at = start = 0
        if self._is_escaped:
            at, self._is_escaped = 1, False
        while found := (_IN_STRING if self._in_string else _BRACKETS).search(block, at):
            at = found.end()
            mark = found[0]
            if mark == b"\\":
                at += 1
                self._is_escaped = at > len(block)
            elif mark == b'"':
                self._in_string = not self._in_string
            elif mark == b",":
                if self._depth == self._outside:
                    yield from self._take(block[start : at - 1])
                    start = at
            elif mark in b"{[":
                self._depth += 1
                if self._depth == self._outside:  # the array's own bracket
                    start = at
            else:
                self._depth -= 1
                if self._depth == self._outside:
                    yield from self._take(block[start:at])
                    start = at
                elif self._depth < self._outside:
                    yield from self._take(block[start : at - 1])
                    start, self._depth = at, 0
                    self._outside = 0  # whatever comes after the array stands for itself
        self._pending.add(block[start:])

    def _take(self, piece: bytes) -> Iterator[Line]:
        self._pending.add(piece)
        line = self._pending.take(self.number)
        if line.problem is not None or line.data.strip(_BETWEEN):
            yield Line(self.number, line.data.strip(_BETWEEN), line.problem)
            self.number += 1

    def rest(self) -> Iterator[Line]:
        """What is left at the end of the stream."""
        yield from self._take(b"")
        if self._outside == 1:
            yield Line(self.number, b"", "the array is cut off here (it has no closing bracket); send the file again")
