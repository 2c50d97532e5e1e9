"""How a CSV file is written: what separates and quotes its fields, how quotes are escaped, and its charset.

In: the head of a file, what the job says of its CSV, and the columns that are needed. Out: a `Dialect`. What the job
says is taken as it is; the rest is told from the head, and is what RFC 4180 and the file's name say wherever that gives
the columns that are needed.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from pipelines.documents.readers.charsets import codec_of
from pipelines.documents.readers.lines import Line, Utf8Stream
from pipelines.documents.records import CsvMarks
from pipelines.documents.sources.sources import ByteStream

HEAD_BYTES = 64 * 1024
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_QUOTES = ('"', "'")
_HEAD_ROWS = 100
# A backslash before a quote that does not end its field: no CSV of RFC 4180 has it.
_BACKSLASHED = re.compile(r'\\"[^,;\t|\r\n"]')
_WESTERN = "cp1252"
# Bytes that it lacks, and more letters with accents in a row than a word of Western Europe has.
_NOT_WESTERN = re.compile(rb"[\x00-\x08\x81\x8d\x8f\x90\x9d]|[\x80-\xff]{4}")
# Of the letters in a line of such a text; in one that is Greek or Russian nearly all are no ASCII.
_MOST_ACCENTS = 0.3
_ACCENT, _LETTER = re.compile(rb"[\x80-\xff]"), re.compile(rb"[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Dialect:
    """``quote`` is None where nothing is quoted; ``escape`` makes a quote within quotes, beside doubling it, if given.

    ``guessed_encoding`` is set where nobody has said that the bytes are of this charset.
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    guessed_encoding: str | None = None

    def rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Parses strictly: text that a stray quote has mangled should fail, not pass as something else."""
        if self.quote is None:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=True)

    @property
    def counted_quote(self) -> bytes:
        """What is counted to see where a row ends."""
        return (self.quote or '"').encode()

    def lines(self, lines: Iterable[Line]) -> Iterable[Line]:
        """The lines of a file as the parser wants them, with quotes doubled where they were escaped."""
        return lines if self.escape is None or self.quote is None else _with_doubled_quotes(lines, self)


class CsvStream:
    """A CSV file as UTF-8, with the dialect that its head shows."""

    def __init__(self, stream: ByteStream, delimiter: str, marks: CsvMarks, needed: Sequence[str]) -> None:
        self._guessed: str | None = None
        self._given = marks.encoding
        self.text = Utf8Stream(stream, HEAD_BYTES, self._charset)
        head = self.text.peek().decode("utf-8", "replace")
        self.dialect = replace(dialect_of(head, delimiter, marks, needed), guessed_encoding=self._guessed)

    def _charset(self, head: bytes) -> str | None:
        if self._given is not None:
            return codec_of(self._given)
        self._guessed = guessed_charset(head)
        return self._guessed


def guessed_charset(head: bytes) -> str | None:
    """Windows-1252 where a head is likely in it; None: it is UTF-8, or nothing better is to be seen."""
    if head.isascii():
        return None
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(head)
    others = sum(not char.isascii() for char in text)
    bad = text.count("\ufffd")
    # Whoever writes UTF-8 has some letters right; a Western text seldom looks like it by chance.
    if not bad or others - bad >= bad or _NOT_WESTERN.search(head):
        return None
    foreign = b"\n".join(line for line in head.split(b"\n") if not line.isascii())
    accents = len(_ACCENT.findall(foreign))
    return _WESTERN if accents <= _MOST_ACCENTS * (accents + len(_LETTER.findall(foreign))) else None


def dialect_of(head: str, delimiter: str, marks: CsvMarks, needed: Sequence[str]) -> Dialect:
    """How a file is written.

    Args:
        head: its first lines; the last may be cut.
        delimiter: what its name says.
        marks: what the job says.
        needed: columns that its header must have.
    """
    lines = list(islice(io.StringIO(head, newline="\n"), _HEAD_ROWS))
    if len(lines) > 1 and not lines[-1].endswith("\n"):
        lines.pop()  # it may be cut
    delimiters = (
        [marks.delimiter] if marks.delimiter else [delimiter, *(each for each in DELIMITERS if each != delimiter)]
    )
    quotes = _QUOTES if marks.quote is None else (marks.quote or None,)
    escape = marks.escape
    tried = [Dialect(each, quote, escape) for quote in quotes for each in delimiters]
    found = next((each for each in tried if set(needed) <= set(_first(each, lines))), None) if needed else None
    found = found or _by_shape(tried, lines)
    if escape is None and found.quote == '"' and _BACKSLASHED.search(head):
        escaped = replace(found, escape="\\")
        found = escaped if _good_rows(escaped, lines) >= _good_rows(found, lines) else found
    return found


def _first(dialect: Dialect, lines: Sequence[str]) -> list[str]:
    return next(_parsed(dialect, lines), None) or []


def _parsed(dialect: Dialect, lines: Sequence[str]) -> Iterator[list[str] | None]:
    """The rows; None for one that cannot be parsed."""
    numbered = (Line(number, line.rstrip("\r\n").encode()) for number, line in enumerate(lines))
    rows = dialect.rows(line.data.decode() + "\n" for line in dialect.lines(numbered))
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield None
            continue
        if row:
            yield row


def _by_shape(tried: Sequence[Dialect], lines: Sequence[str]) -> Dialect:
    """The first that cuts the header and the row below into as many fields; else the first of all."""
    for each in tried:
        rows = list(islice(_parsed(each, lines), 3))
        sizes = {0 if row is None else len(row) for row in rows}
        if len(sizes) == 1 and max(sizes) > 1:
            return each
    return tried[0]


def _good_rows(dialect: Dialect, lines: Sequence[str]) -> int:
    rows = [row for row in _parsed(dialect, lines) if row]
    return sum(len(row) == len(rows[0]) for row in rows)


def _with_doubled_quotes(lines: Iterable[Line], dialect: Dialect) -> Iterator[Line]:
    undo = _Escapes(dialect)
    for line in lines:
        if line.problem is not None:
            undo.is_quoted ^= line.skipped_quotes % 2 == 1
            yield line
        else:
            yield replace(line, data=undo.line(line.data))


class _Escapes:
    """Where the scan stands. Within quotes only, as Spark writes: elsewhere a backslash is one."""

    def __init__(self, dialect: Dialect) -> None:
        assert dialect.quote is not None and dialect.escape is not None
        self._quote, self._escape = dialect.quote.encode(), dialect.escape.encode()
        self._delimiter = dialect.delimiter.encode()
        self._within = re.compile(re.escape(self._escape) + b"|" + re.escape(self._quote))
        self.is_quoted = False

    def line(self, data: bytes) -> bytes:
        if not self.is_quoted and self._quote not in data:
            return data
        pieces, at = list[bytes](), 0
        begins = not self.is_quoted  # a field
        while at < len(data):
            if self.is_quoted:
                at = self._to_closing_quote(data, at, pieces)
            elif begins and data.startswith(self._quote, at):
                pieces.append(self._quote)
                at += 1
                self.is_quoted = True
            else:
                end = data.find(self._delimiter, at) + 1 or len(data)
                pieces.append(data[at:end])
                at = end
            begins = not self.is_quoted and data.endswith(self._delimiter, 0, at)
        return b"".join(pieces)

    def _to_closing_quote(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        while found := self._within.search(data, at):
            pieces.append(data[at : found.start()])
            at = found.end()
            following = data[at : at + 1]
            if found[0] == self._quote and following != self._quote:
                pieces.append(self._quote)
                self.is_quoted = False
                return at
            if following == self._quote:  # escaped or doubled
                pieces.append(self._quote * 2)
                at += 1
            elif following == self._escape:
                pieces.append(self._escape)
                at += 1
            else:
                pieces.append(self._escape)
        pieces.append(data[at:])
        return len(data)
