"""Bounded reading: lines and whole files of any size, in memory that the document limit bounds.

In: an open byte stream. Out: lines or one block of bytes, or the reason why not. Also what every reader says in the
same way: "this cannot be read". Knows nothing of file formats.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipelines.documents.records import Document, SourceFile
from pipelines.documents.sources.sources import ByteStream

# Arrow loses up to one read of decompressed .zst data at a cut, so reads are small; larger ones are no faster.
READ_BYTES = 16 * 1024
DAMAGED_STREAM = (OSError, EOFError, zlib.error)  # what a cut or damaged .gz or .zst raises; see sources.py
WIDE_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_INVALID = "sluice.invalid"  # the name of an error handler
CUT_OFF = "compressed data is cut off or damaged from here on; send the file again"


class Unreadable(Exception):
    """A document that cannot be read. Its text is what is wrong, and after a semicolon the next move."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line end, or the ``problem`` that stands in its place.

    ``skipped_quotes`` counts the quotes in data that was skipped, so that a CSV reader can tell whether
    it is still inside a quoted field.
    """

    number: int
    data: bytes
    problem: str | None = None
    skipped_quotes: int = 0


class Utf8Stream:
    """A stream as UTF-8 without a byte order mark: UTF-16 and UTF-32 are told by theirs, as Excel and PowerShell write.

    What is not valid in them becomes a byte that is not valid in UTF-8, so that whoever decodes the lines finds it.
    """

    def __init__(
        self, stream: ByteStream, head_bytes: int = 1024, charset: Callable[[bytes], str | None] = lambda head: None
    ) -> None:
        """``charset`` says from the head which codec it is where no mark does; None: UTF-8."""
        self._stream = stream
        self._head_bytes, self._charset = head_bytes, charset
        self._head: bytes | None = None
        self._recode: codecs.IncrementalDecoder | None = None
        self._damage: Exception | None = None
        self._is_at_end = False

    def peek(self) -> bytes:
        """The first bytes, which stay to be read."""
        if self._head is None:
            self._head = self._read_head()
        return self._head

    def _read_head(self) -> bytes:
        head = b""
        try:
            while len(head) < self._head_bytes and (block := self._stream.read1(READ_BYTES)):
                head += block
        except DAMAGED_STREAM as error:
            self._damage = error  # raised when reading gets there
        for mark, name in WIDE_MARKS:
            if head.startswith(mark):
                self._recode = codecs.getincrementaldecoder(name)(_INVALID)
                return self._recoded(head[len(mark) :])
        codec = None if head.startswith(codecs.BOM_UTF8) else self._charset(head)
        if codec is not None:
            self._recode = codecs.getincrementaldecoder(codec)(_INVALID)
            return self._recoded(head)
        return head.removeprefix(codecs.BOM_UTF8)

    def read1(self, size: int, /) -> bytes:
        """The next bytes, about ``size`` of them; ``b""`` at the end."""
        head = self.peek()
        if head:
            self._head = b""
            return head
        if self._damage is not None:
            raise self._damage
        while not self._is_at_end:
            block = self._stream.read1(size)
            self._is_at_end = not block
            if recoded := self._recoded(block):
                return recoded
        return b""

    def _recoded(self, block: bytes) -> bytes:
        if self._recode is None:
            return block
        return self._recode.decode(block, final=not block).encode("utf-8", "surrogateescape")


def _invalid(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_INVALID, _invalid)


def read_lines(
    stream: ByteStream, limit_bytes: int, *, skip_blank: bool = False, quote: bytes = b'"'
) -> Iterator[Line]:
    """Cuts a stream into lines; a line over the limit is skipped in pieces, a damaged stream ends in a problem.

    ``skip_blank``: whoever calls needs no blank lines; of a compressed file of nothing else there are billions.
    ``quote`` is what is counted in a line that is skipped.
    """
    number = 1
    pending = PendingLine(limit_bytes, quote)
    stream = stream if isinstance(stream, Utf8Stream) else Utf8Stream(stream)
    try:
        while block := stream.read1(READ_BYTES):
            if skip_blank and not pending.size_bytes and block.isspace():
                number += block.count(b"\n")
                continue
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


class PendingLine:
    """The line or value being gathered: its pieces up to the limit, only its size and quotes beyond."""

    def __init__(self, limit_bytes: int, quote: bytes = b'"') -> None:
        self.size_bytes = 0
        self._limit_bytes, self._quote = limit_bytes, quote
        self._pieces: list[bytes] = []
        self._skipped_quotes = 0

    def add(self, piece: bytes) -> None:
        """Add a piece of bytes to the line that is being read."""
        self.size_bytes += len(piece)
        self._pieces.append(piece)
        if self.size_bytes > self._limit_bytes:
            self._skipped_quotes += sum(kept.count(self._quote) for kept in self._pieces)
            self._pieces.clear()

    def take(self, number: int) -> Line:
        """Ends the line, and begins another."""
        if self.size_bytes > self._limit_bytes:
            line = Line(number, b"", over_limit("line", self.size_bytes, self._limit_bytes), self._skipped_quotes)
        else:
            line = Line(number, b"".join(self._pieces))
        self.size_bytes = 0
        self._skipped_quotes = 0
        self._pieces.clear()
        return line


def read_whole(stream: ByteStream, limit_bytes: int, size_bytes: int | None) -> bytes:
    """Reads a stream to its end.

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
    return b"".join(blocks)


def over_limit(what: str, size_bytes: int | None, limit_bytes: int) -> str:
    """Says that something is too large; without a size, that it is larger than the limit."""
    size = f"{size_bytes} bytes" if size_bytes is not None else f"more than {limit_bytes} bytes"
    return f"{what} is {size} (limits.max_document_bytes is {limit_bytes}); split it or raise the limit"


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
