"""Bounded reading: lines and whole files of any size, in memory that the document limit bounds.

In: an open byte stream. Out: lines or one block of bytes, or the reason why not. Also the two things that every
reader says in the same way: "this cannot be read" and "this is not UTF-8". Knows nothing of file formats.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.documents.records import Document, SourceFile
from pipelines.documents.sources import ByteStream

# Arrow loses up to one read of decompressed .zst data at a cut, so reads are small; larger ones are no faster.
READ_BYTES = 16 * 1024
DAMAGED_STREAM = (OSError, EOFError, zlib.error)  # what a cut or damaged .gz or .zst raises; see sources.py
CUT_OFF = "compressed data is cut off or damaged from here on; send the file again"


class Unreadable(Exception):
    """A document that cannot be read. Its text is what is wrong, and after a semicolon the next move."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line end, or the ``problem`` that stands in its place.

    ``skipped_quotes`` counts the double quotes in data that was skipped, so that a CSV reader can tell whether
    it is still inside a quoted field.
    """

    number: int
    data: bytes
    problem: str | None = None
    skipped_quotes: int = 0


def read_lines(stream: ByteStream, limit_bytes: int) -> Iterator[Line]:
    """Cuts a stream into lines; a line over the limit is skipped in pieces, a damaged stream ends in a problem."""
    number = 1
    pending = _PendingLine(limit_bytes)
    try:
        while block := stream.read1(READ_BYTES):
            for index, piece in enumerate(block.split(b"\n")):
                if index > 0:
                    yield pending.take(number)
                    number += 1
                pending.add(piece)
    except DAMAGED_STREAM:
        yield Line(number, b"", CUT_OFF)
        return
    if pending.size_bytes:
        yield pending.take(number)


class _PendingLine:
    """The line being gathered: its pieces up to the limit, only its size and quotes beyond."""

    def __init__(self, limit_bytes: int) -> None:
        self.size_bytes = 0
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._skipped_quotes = 0

    def add(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        self._pieces.append(piece)
        if self.size_bytes > self._limit_bytes:
            self._skipped_quotes += sum(kept.count(b'"') for kept in self._pieces)
            self._pieces.clear()

    def take(self, number: int) -> Line:
        if self.size_bytes > self._limit_bytes:
            line = Line(number, b"", over_limit("line", self.size_bytes, self._limit_bytes), self._skipped_quotes)
        else:
            data = b"".join(self._pieces)
            line = Line(number, data.removeprefix(codecs.BOM_UTF8) if number == 1 else data)
        self.size_bytes = 0
        self._skipped_quotes = 0
        self._pieces.clear()
        return line


def read_whole(stream: ByteStream, limit_bytes: int, size_bytes: int | None) -> bytes:
    """Reads a stream to its end, less a byte order mark.

    ``size_bytes`` is for the message about a file over the limit; None where only reading it all would tell
    (compressed files).
    """
    blocks = []
    total = 0
    try:
        while block := stream.read1(READ_BYTES):
            total += len(block)
            if total > limit_bytes:
                raise Unreadable(over_limit("document", size_bytes, limit_bytes))
            blocks.append(block)
    except DAMAGED_STREAM as error:
        raise Unreadable("compressed data is cut off or damaged; send the file again") from error
    return b"".join(blocks).removeprefix(codecs.BOM_UTF8)


def over_limit(what: str, size_bytes: int | None, limit_bytes: int) -> str:
    """Says that something is too large; without a size, that it is larger than the limit."""
    size = f"{size_bytes} bytes" if size_bytes is not None else f"more than {limit_bytes} bytes"
    return f"{what} is {size} (limits.max_document_bytes is {limit_bytes}); split it or raise the limit"


def decode_utf8(data: bytes, unit: str) -> str:
    """Decodes bytes, or says at which byte of the unit ("line", "file") they stop being UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        guess = " (UTF-16?)" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
        raise Unreadable(f"not UTF-8 at byte {error.start} of the {unit}{guess}; convert it to UTF-8") from error


def failed(source: SourceFile, position: int | None, reason: str, document_id: str | None = None) -> Document:
    """The document that stands for something unreadable; ``position`` is a line or row, None for the whole file."""
    place = source.path if position is None else f"{source.path}:{position}"
    return Document(
        document_id=document_id or place,
        document_uri=source.uri,
        document_offset=position or 0,
        text=None,
        failure=f"{place}: {reason}",
    )
