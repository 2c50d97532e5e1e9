"""Readers of row formats held in text: JSON (lines or an array), CSV and TSV. One row is one document.

A row that cannot be read costs itself only: reading goes on with the next row.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from pipelines.documents.readers.charsets import decode_line, joined_notes
from pipelines.documents.readers.json_values import read_values, shape_of
from pipelines.documents.readers.lines import Line, Unreadable, Utf8Stream, failed, over_limit, read_lines
from pipelines.documents.records import Columns, Document, NoValue, SourceFile
from pipelines.documents.sources.sources import open_source

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_WRITTEN_AS = {",": "with commas", "\t": "with tabs, or name it .csv if they are commas"}
_STRAY = "not valid CSV (stray quote or carriage return); mend or remove the row"
_BACKSLASHED = (
    "not valid CSV (a quote is escaped as \\\", as Spark does); write it again with quotes doubled (Spark: escape='\"')"
)
_NOT_AN_ID = frozenset({"nan", "NaN", "<NA>"})  # how pandas spells a missing value where ids are text
_EXACT_FLOATS = 2**53  # up to here a float without fraction is one whole number
_JSON_TYPES = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


def read_json(source: SourceFile, columns: Columns, max_document_bytes: int) -> Iterator[Document]:
    """One JSON object a line, an array of them, or objects over several lines, whatever the name says.

    Blank lines are skipped. Documents are placed by their line, or where they have none of their own by their number.
    """
    with open_source(source) as stored:
        stream = Utf8Stream(stored)
        shape = shape_of(stream.peek())
        if shape == "lines":
            lines = read_lines(stream, max_document_bytes, skip_blank=True)
        else:
            lines = read_values(stream, max_document_bytes, in_array=shape == "array")
        quoted_names = [f'"{name}"'.encode() for name in _names(columns)]
        for line in lines:
            if line.problem is not None or line.data.strip():
                # Names that are there twice are looked for only where it matters or is likely: it takes time.
                may_repeat = bool(columns.attributes) or any(line.data.count(name) > 1 for name in quoted_names)
                repeats = _Repeats() if may_repeat else None
                yield _json_document(source, line, columns, max_document_bytes, repeats)


def _json_document(
    source: SourceFile, line: Line, columns: Columns, max_document_bytes: int, repeats: _Repeats | None
) -> Document:
    try:
        record, note = json_object(line, repeats)
        if repeats is not None:
            _check_not_repeated(columns, repeats.names, "the row")
    except Unreadable as reason:
        return failed(source, line.number, str(reason))
    repeated = repeats.names if repeats else ()
    return row_document(source, line.number, record, columns, max_document_bytes, repeated, note)


def _names(columns: Columns) -> list[str]:
    """The columns that must not be there twice: whichever were read, it might be the wrong one."""
    return list(dict.fromkeys(name for name in (columns.text, columns.id, columns.gold) if name is not None))


def _check_not_repeated(columns: Columns, repeated: Collection[str], where: str) -> None:
    for name in _names(columns):
        if name in repeated:
            raise Unreadable(f"{where} has {name!r} more than once; rename all but one")


def check_columns(columns: Columns, there_are: list[str]) -> None:
    """Looks at the names of a table's columns before its rows are read.

    Raises:
        Unreadable: there is no text, or two columns have the name of one that is needed.
    """
    if columns.text not in there_are:
        raise Unreadable(missing_column(columns.text, there_are))
    _check_not_repeated(columns, [name for name in there_are if there_are.count(name) > 1], "the table")


class _Repeats:
    """Notes which names an object holds more than once. The outermost object comes last, so its ``names`` stay."""

    def __init__(self) -> None:
        self.names: Collection[str] = ()

    def __call__(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        self.names = () if len(found) == len(pairs) else Counter(name for name, _ in pairs) - Counter(found.keys())
        return found


def json_object(line: Line, repeats: _Repeats | None) -> tuple[dict[str, object], str | None]:
    """One JSON object, and what the row should say of how it was read; raises `Unreadable`."""
    if line.problem is not None:
        raise Unreadable(line.problem)
    decoded = decode_line(line.data)
    text = decoded.text.rstrip()
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
    return record, decoded.note


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
        rows = csv_rows(read_lines(stream, max_document_bytes), delimiter, max_document_bytes)
        header = next(rows, None)
        if header is None:
            return
        if header.problem is not None:
            yield failed(source, header.number, f"header: {header.problem}")
            return
        if columns.text not in header.fields:
            other = _other_delimiter(columns.text, header.fields, delimiter)
            raise Unreadable(missing_column(columns.text, header.fields) if other is None else other)
        check_columns(columns, header.fields)
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
            if row.fields == header.fields and len(header.fields) > 1:
                continue  # files that were joined, each with its header
            record = dict(zip(header.fields, row.fields, strict=True))
            yield row_document(source, row.number, record, columns, max_document_bytes, repeated, row.note)


def _other_delimiter(name: str, fields: list[str], delimiter: str) -> str | None:
    """Says so where the header would have the column if it were cut at another delimiter."""
    line = delimiter.join(fields)
    for other, spelt in _DELIMITERS.items():
        if other != delimiter and name in next(csv.reader([line], delimiter=other), []):
            return (
                f"no column {name!r}: the columns are separated by {spelt}, not by {_DELIMITERS[delimiter]}; "
                f"write the file again {_WRITTEN_AS[delimiter]}"
            )
    return None


@dataclass(frozen=True, slots=True)
class _Row:
    """One CSV row; ``number`` is the line on which it starts."""

    number: int
    fields: list[str]
    problem: str | None
    note: str | None


def csv_rows(lines: Iterable[Line], delimiter: str, limit_bytes: int) -> Iterator[_Row]:
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
                feed.problem = _BACKSLASHED if feed.has_backslashed_quote else _STRAY
        if fields or feed.problem is not None:
            yield _Row(feed.number, fields, feed.problem, feed.note)


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
        if decoded.note is not None:
            self.note = joined_notes(self.note, f"line {line.number}: {decoded.note}" if was_quoted else decoded.note)
        return decoded.text + "\n"

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
    note: str | None = None,
) -> Document:
    """Makes the document of one row; its id holds even where its text cannot be used.

    Of names in ``repeated`` the row holds several values, so that none may speak for it as an attribute.
    """
    document_id = None
    try:
        document_id = _plain_value(record.get(columns.id))
        if document_id is None or document_id in _NOT_AN_ID:
            document_id = f"{source.path}:{position}"
        gold_label = _plain_value(record.get(columns.gold)) if columns.gold is not None else None
        if columns.text not in record:
            raise Unreadable(f"no field {columns.text!r}; add it, or name the right one in columns.text")
        text = _usable_text(record[columns.text], columns.text, max_document_bytes)
    except Unreadable as reason:
        return failed(source, position, str(reason), document_id)
    if not columns.attributes:
        return Document(document_id, source.uri, position, text, gold_label, note=note)
    attributes = {name: _attribute(record[name]) for name in columns.attributes if name in record}
    attributes |= {name: NoValue("is there more than once") for name in repeated if name in attributes}
    return Document(document_id, source.uri, position, text, gold_label, attributes=attributes, note=note)


def _attribute(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if _is_nan(value):
        return None
    if value is None or isinstance(value, str | int | float | NoValue):
        return value
    return NoValue(f"is {_JSON_TYPES.get(type(value), 'neither text nor number nor boolean')}")


def _usable_text(value: object, name: str, max_document_bytes: int) -> str:
    if value is None or _is_nan(value):
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
    """An id or label as text; what is neither text nor number nor boolean (or is empty text) counts as absent.

    A whole number stays one where its column has become floating: that is what a missing value in it does.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOATS:
        return str(int(value))
    if isinstance(value, int | float | Decimal):
        return str(value)
    return _encode(value).decode("utf-8") if isinstance(value, str) and value else None


def _is_nan(value: object) -> bool:
    """Not a number: what pandas writes where there is nothing."""
    return isinstance(value, float | Decimal) and math.isnan(value)


def _encode(value: str) -> bytes:
    """JSON can spell half a surrogate pair, which no UTF-8 column could hold: the one way to fail here."""
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unreadable("holds half of a surrogate pair (\\ud800 to \\udfff); mend or remove the row") from error
