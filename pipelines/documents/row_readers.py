"""Readers of row formats held in lines: JSONL, CSV and TSV. One row is one document.

A row that cannot be read costs itself only: reading goes on with the next row.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from pipelines.documents.lines import Line, Unreadable, decode_utf8, failed, over_limit, read_lines
from pipelines.documents.records import Columns, Document, NoValue, SourceFile
from pipelines.documents.sources import open_source

_JSON_TYPES = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


def read_jsonl(source: SourceFile, columns: Columns, max_document_bytes: int) -> Iterator[Document]:
    """One JSON object a line; blank lines are skipped."""
    repeats = _Repeats() if columns.attributes else None  # looked for only where it matters: it takes time
    with open_source(source) as stream:
        for line in read_lines(stream, max_document_bytes):
            if line.problem is None and not line.data.strip():
                continue
            try:
                record = _json_object(line, repeats)
            except Unreadable as reason:
                yield failed(source, line.number, str(reason))
                continue
            repeated = repeats.names if repeats else ()
            yield row_document(source, line.number, record, columns, max_document_bytes, repeated)


class _Repeats:
    """Notes which names an object holds more than once. The outermost object comes last, so its ``names`` stay."""

    def __init__(self) -> None:
        self.names: Collection[str] = ()

    def __call__(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        self.names = () if len(found) == len(pairs) else Counter(name for name, _ in pairs) - Counter(found.keys())
        return found


def _json_object(line: Line, repeats: _Repeats | None) -> dict[str, object]:
    if line.problem is not None:
        raise Unreadable(line.problem)
    text = decode_utf8(line.data, "line").rstrip()
    try:
        record = json.loads(text, object_pairs_hook=repeats)
    except json.JSONDecodeError as error:
        is_cut_off = error.pos >= len(text) or error.msg.startswith("Unterminated string")
        where = f"cut off at column {len(text)}?" if is_cut_off else f"at column {error.colno}"
        raise Unreadable(f"not valid JSON ({where}); mend or remove the line") from error
    except ValueError as error:  # Python refuses to convert numbers of more than 4,300 digits
        raise Unreadable("not usable JSON (a number of thousands of digits); mend or remove the line") from error
    except RecursionError as error:
        raise Unreadable("JSON is nested too deeply; mend or remove the line") from error
    if not isinstance(record, dict):
        raise Unreadable("JSON line is not an object; write one object per line")
    return record


def read_csv(source: SourceFile, columns: Columns, max_document_bytes: int) -> Iterator[Document]:
    """Comma-separated rows under a header line."""
    return _read_delimited(source, columns, max_document_bytes, ",")


def read_tsv(source: SourceFile, columns: Columns, max_document_bytes: int) -> Iterator[Document]:
    """Tab-separated rows under a header line, quoted as in CSV."""
    return _read_delimited(source, columns, max_document_bytes, "\t")


def _read_delimited(
    source: SourceFile, columns: Columns, max_document_bytes: int, delimiter: str
) -> Iterator[Document]:
    with open_source(source) as stream:
        rows = _csv_rows(read_lines(stream, max_document_bytes), delimiter, max_document_bytes)
        header = next(rows, None)
        if header is None:
            return
        if header.problem is not None:
            yield failed(source, header.number, f"header: {header.problem}")
            return
        if columns.text not in header.fields:
            raise Unreadable(missing_column(columns.text, header.fields))
        repeated = [name for name in columns.attributes if header.fields.count(name) > 1]
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
            # The first of two columns of the same name counts, as in most readers.
            record = dict(zip(reversed(header.fields), reversed(row.fields), strict=True))
            yield row_document(source, row.number, record, columns, max_document_bytes, repeated)


@dataclass(frozen=True, slots=True)
class _Row:
    """One CSV row; ``number`` is the line on which it starts."""

    number: int
    fields: list[str]
    problem: str | None


def _csv_rows(lines: Iterable[Line], delimiter: str, limit_bytes: int) -> Iterator[_Row]:
    """Parses rows strictly: text that a stray quote has mangled should fail, not pass as something else."""
    csv.field_size_limit(max(limit_bytes, csv.field_size_limit()))  # rows are bounded before they get there
    feed = _RowLines(lines, limit_bytes)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
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
                feed.problem = "quoted field is never closed; close it with a double quote"
            else:
                feed.problem = "not valid CSV (stray quote or carriage return); mend or remove the row"
        if fields or feed.problem is not None:
            yield _Row(feed.number, fields, feed.problem)


class _RowLines:
    """Hands the CSV parser the lines of one row after the other, and keeps what it forgets.

    The parser asks for a second line of a row only from within a quoted field; so when a row outgrows the limit,
    counting quotes tells where that field ends, and with it the row.
    """

    def __init__(self, lines: Iterable[Line], limit_bytes: int) -> None:
        self._lines = iter(lines)
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._in_row = False
        self.number = 0
        self.problem: str | None = None
        self.is_at_end = False

    def start_row(self) -> None:
        self.problem = None
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
        try:
            return decode_utf8(data, "line") + "\n"
        except Unreadable as reason:
            self.problem = f"line {line.number}: {reason}" if was_quoted else str(reason)
            return data.decode("utf-8", errors="replace") + "\n"  # keeps the parser's place

    def _skip_row(self, line: Line, was_quoted: bool) -> None:
        in_quotes = was_quoted ^ _is_odd(line)
        last = line
        while in_quotes and (following := next(self._lines, None)) is not None:
            in_quotes ^= _is_odd(following)
            self._size_bytes += len(following.data) + 1
            last = following
        if last is line and not was_quoted and line.problem is not None:
            raise Unreadable(line.problem)
        if in_quotes:
            raise Unreadable("quoted field is never closed; close it with a double quote")
        what = f"row (up to line {last.number})"
        raise Unreadable(over_limit(what, None, self._limit_bytes))


def _is_odd(line: Line) -> bool:
    return (line.data.count(b'"') + line.skipped_quotes) % 2 == 1


def missing_column(name: str, there_are: list[str]) -> str:
    """Says which columns there are; clipped, because a file without a header has text where names should be."""
    shown = ", ".join(repr(column[:40]) for column in there_are[:10])
    more = f" and {len(there_are) - 10} more" if len(there_are) > 10 else ""
    return f"no column {name!r} (there are {shown}{more}); name the right one in columns.text"


def row_document(
    source: SourceFile,
    position: int,
    record: Mapping[str, object],
    columns: Columns,
    max_document_bytes: int,
    repeated: Collection[str] = (),
) -> Document:
    """Makes the document of one row; its id holds even where its text cannot be used.

    Of names in ``repeated`` the row holds several values, so that none may speak for it as an attribute.
    """
    document_id = None
    try:
        document_id = _plain_value(record.get(columns.id)) or f"{source.path}:{position}"
        gold_label = _plain_value(record.get(columns.gold)) if columns.gold is not None else None
        if columns.text not in record:
            raise Unreadable(f"no field {columns.text!r}; add it, or name the right one in columns.text")
        text = _usable_text(record[columns.text], columns.text, max_document_bytes)
    except Unreadable as reason:
        return failed(source, position, str(reason), document_id)
    if not columns.attributes:
        return Document(document_id, source.uri, position, text, gold_label)
    attributes = {name: _attribute(record[name]) for name in columns.attributes if name in record}
    attributes |= {name: NoValue("is there more than once") for name in repeated if name in attributes}
    return Document(document_id, source.uri, position, text, gold_label, attributes=attributes)


def _attribute(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if value is None or isinstance(value, str | int | float | NoValue):
        return value
    return NoValue(f"is {_JSON_TYPES.get(type(value), 'neither text nor number nor boolean')}")


def _usable_text(value: object, name: str, max_document_bytes: int) -> str:
    if value is None:
        raise Unreadable(f"{name!r} is null; fill it in or remove the row")
    if not isinstance(value, str):
        raise Unreadable(f"{name!r} is {_JSON_TYPES[type(value)]}, not a string; quote it or remove the row")
    if not value.strip():
        raise Unreadable(f"{name!r} is blank; fill it in or remove the row")
    size_bytes = len(_encode(value))
    if size_bytes > max_document_bytes:
        raise Unreadable(over_limit(f"{name!r}", size_bytes, max_document_bytes))
    return value


def _plain_value(value: object) -> str | None:
    """An id or label as text; what is neither text nor number nor boolean (or is empty text) counts as absent."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        return str(value)
    return _encode(value).decode("utf-8") if isinstance(value, str) and value else None


def _encode(value: str) -> bytes:
    """JSON can spell half a surrogate pair, which no UTF-8 column could hold: the one way to fail here."""
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unreadable("holds half of a surrogate pair (\\ud800 to \\udfff); mend or remove the row") from error
