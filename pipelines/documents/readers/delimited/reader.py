"""Readers of CSV and TSV, in whatever dialect they are written. One row is one document.

A row that cannot be read costs itself only: reading goes on with the next row.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from pipelines.documents.readers.charsets import Decoded, decode_line, joined_notes
from pipelines.documents.readers.delimited.dialects import DELIMITERS, CsvStream, Dialect
from pipelines.documents.readers.lines import Line, Unreadable, failed, over_limit, read_lines
from pipelines.documents.readers.row_readers import check_columns, missing_column, row_document
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.sources import open_source

_STRAY = "not valid CSV (stray quote or carriage return); mend or remove the row"
_BACKSLASHED = 'not valid CSV (a quote is escaped as \\", as Spark does); set csv.escape to "\\\\" if all quotes are'
_UNCLOSED = "quoted field is never closed; close it with a {}"
_QUOTE_NAMES = {'"': "double quote", "'": "single quote"}
_GUESSED = "not UTF-8: read as {}, by the looks of the file's head; csv.encoding in the job says otherwise"


def read_csv(source: SourceFile, columns: RowColumns, max_document_bytes: int) -> Iterator[Document]:
    """Rows under a header line: comma-separated, unless the head or the job says otherwise."""
    return _read_delimited(source, columns, max_document_bytes, ",")


def read_tsv(source: SourceFile, columns: RowColumns, max_document_bytes: int) -> Iterator[Document]:
    """The same with tabs."""
    return _read_delimited(source, columns, max_document_bytes, "\t")


def _read_delimited(
    source: SourceFile, columns: RowColumns, max_document_bytes: int, delimiter: str
) -> Iterator[Document]:
    with open_source(source) as stored:
        stream = CsvStream(stored, delimiter, columns.csv, columns.text_names)
        rows = csv_rows(stream, max_document_bytes)
        header = next(rows, None)
        if header is None:
            return
        if header.problem is not None:
            yield failed(source, header.number, f"header: {header.problem}")
            return
        if missing := next((name for name in columns.text_names if name not in header.fields), None):
            other = _other_delimiter(columns.text_names, header.fields, stream.dialect)
            raise Unreadable(missing_column(missing, header.fields) if other is None else other)
        check_columns(columns, header.fields)
        repeated = [name for name in (*columns.attributes, *columns.carried) if header.fields.count(name) > 1]
        for row in rows:
            problem = row.problem
            if problem is None and len(row.fields) != len(header.fields):
                problem = (
                    f"row has {len(row.fields)} fields where the header has {len(header.fields)}; "
                    "quote fields that hold delimiters, or mend the row"
                )
            if problem is not None:
                yield failed(source, row.number, problem)
                continue
            if row.fields == header.fields and len(header.fields) > 1:
                continue  # files that were joined, each with its header
            record = dict(zip(header.fields, row.fields, strict=True))
            yield row_document(source, row.number, record, columns, max_document_bytes, repeated, row.note)


def _other_delimiter(needed: Collection[str], fields: list[str], dialect: Dialect) -> str | None:
    """Says so where the header would have the columns if it were cut at another delimiter than the job's."""
    line = dialect.delimiter.join(fields)
    for other, spelt in DELIMITERS.items():
        if other != dialect.delimiter and set(needed) <= set(_cut(line, other)):
            return (
                f"the columns are separated by {spelt}, not by {DELIMITERS.get(dialect.delimiter, 'what it says')}; "
                "mend csv.delimiter, or leave it out"
            )
    return None


def _cut(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a name with a line break, which only quotes could hold
        return []


@dataclass(frozen=True, slots=True)
class _Row:
    """One CSV row; ``number`` is the line on which it starts."""

    number: int
    fields: list[str]
    problem: str | None
    note: str | None


def csv_rows(stream: CsvStream, limit_bytes: int) -> Iterator[_Row]:
    """The rows of a file, the header among them, each with what is wrong with it."""
    csv.field_size_limit(max(limit_bytes, csv.field_size_limit()))  # rows are bounded before they get there
    dialect = stream.dialect
    lines = dialect.lines(read_lines(stream.text, limit_bytes, quote=dialect.counted_quote))
    feed = _RowLines(lines, limit_bytes, dialect)
    reader = dialect.rows(feed)
    while True:
        feed.start_row()
        fields: list[str] = []
        try:
            fields = next(reader)
        except StopIteration:
            return
        except Unreadable as reason:
            feed.problem = str(reason)
        except csv.Error:
            if feed.is_at_end:
                feed.problem = _UNCLOSED.format(_QUOTE_NAMES.get(dialect.quote or "", "quote"))
            else:
                feed.problem = _BACKSLASHED if feed.has_backslashed_quote and not dialect.escape else _STRAY
        if fields or feed.problem is not None:
            yield _Row(feed.number, fields, feed.problem, feed.note)


class _RowLines:
    """Hands the CSV parser the lines of one row after the other, and keeps what it forgets.

    The parser asks for a second line of a row only from within a quoted field; so when a row outgrows the limit,
    counting quotes tells where that field ends, and with it the row.
    """

    def __init__(self, lines: Iterable[Line], limit_bytes: int, dialect: Dialect) -> None:
        self._lines = iter(lines)
        self._limit_bytes = limit_bytes
        self._dialect = dialect
        self._size_bytes = 0
        self._in_row = False
        self.number = 0
        self.problem: str | None = None
        self.note: str | None = None
        self.has_backslashed_quote = False
        self.is_at_end = False

    def start_row(self) -> None:
        self.problem = None
        self.note = None
        self.has_backslashed_quote = False
        self._in_row = False
        self._size_bytes = 0

    def __iter__(self) -> _RowLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines, None)
        if line is None:
            self.is_at_end = True
            raise StopIteration
        was_quoted, self._in_row = self._in_row, True
        if not was_quoted:
            self.number = line.number
        self._size_bytes += len(line.data) + 1
        if line.problem is not None or self._size_bytes > self._limit_bytes + 1:
            self._skip_row(line, was_quoted)
        data = line.data.removesuffix(b"\r")
        self.has_backslashed_quote |= b'\\"' in data
        try:
            decoded = decode_line(data)
        except Unreadable as reason:
            self.problem = f"line {line.number}: {reason}" if was_quoted else str(reason)
            return data.decode("utf-8", errors="replace") + "\n"  # keeps the parser's place
        if self._dialect.guessed_encoding and not data.isascii():
            decoded = Decoded(decoded.text, joined_notes(decoded.note, _GUESSED.format(self._dialect.guessed_encoding)))
        if decoded.note is not None:
            self.note = joined_notes(self.note, f"line {line.number}: {decoded.note}" if was_quoted else decoded.note)
        return decoded.text + "\n"

    def _skip_row(self, line: Line, was_quoted: bool) -> None:
        in_quotes = was_quoted ^ self._is_odd(line)
        last = line
        while in_quotes and (following := next(self._lines, None)) is not None:
            in_quotes ^= self._is_odd(following)
            self._size_bytes += len(following.data) + 1
            last = following
        if last is line and not was_quoted and line.problem is not None:
            raise Unreadable(line.problem)
        if in_quotes:
            raise Unreadable(_UNCLOSED.format(_QUOTE_NAMES.get(self._dialect.quote or "", "quote")))
        what = f"row (up to line {last.number})"
        raise Unreadable(over_limit(what, None, self._limit_bytes))

    def _is_odd(self, line: Line) -> bool:
        quotes = line.data.count(self._dialect.counted_quote) + line.skipped_quotes
        return self._dialect.quote is not None and quotes % 2 == 1
