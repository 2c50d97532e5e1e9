"""Reader of JSON, and what a row of any format becomes. One row is one document.

A row that cannot be read costs itself only: reading goes on with the next row.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

from pipelines.documents.readers.charsets import decode_line
from pipelines.documents.readers.json_values import read_values, shape_of
from pipelines.documents.readers.lines import Line, Unreadable, Utf8Stream, failed, over_limit, read_lines
from pipelines.documents.records import Document, NoValue, RowColumns, SourceFile
from pipelines.documents.sources.sources import open_source
from pipelines.documents.text_columns import Combined, names_of

_NOT_AN_ID = frozenset({"nan", "NaN", "<NA>"})  # how pandas spells a missing value where ids are text
_EXACT_FLOATS = 2**53  # up to here a float without fraction is one whole number
_JSON_TYPES = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


def read_json(source: SourceFile, columns: RowColumns, max_document_bytes: int) -> Iterator[Document]:
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
        quoted_names = [f'"{name}"'.encode() for name in (*_names(columns), *columns.carried)]
        for line in lines:
            if line.problem is not None or line.data.strip():
                # Names that are there twice are looked for only where it matters or is likely: it takes time.
                may_repeat = bool(columns.attributes) or any(line.data.count(name) > 1 for name in quoted_names)
                repeats = _Repeats() if may_repeat else None
                yield _json_document(source, line, columns, max_document_bytes, repeats)


def _json_document(
    source: SourceFile, line: Line, columns: RowColumns, max_document_bytes: int, repeats: _Repeats | None
) -> Document:
    try:
        record, note = json_object(line, repeats)
        if repeats is not None:
            _check_not_repeated(columns, repeats.names, "the row")
    except Unreadable as reason:
        return failed(source, line.number, str(reason))
    repeated = repeats.names if repeats else ()
    return row_document(source, line.number, record, columns, max_document_bytes, repeated, note)


def _names(columns: RowColumns) -> list[str]:
    """The columns that must not be there twice: whichever were read, it might be the wrong one."""
    gold = () if columns.gold is None else (columns.gold,)
    return list(dict.fromkeys((*columns.text_names, *columns.id_names, *gold)))


def _check_not_repeated(columns: RowColumns, repeated: Collection[str], where: str) -> None:
    for name in _names(columns):
        if name in repeated:
            raise Unreadable(f"{where} has {name!r} more than once; rename all but one")


def check_columns(columns: RowColumns, there_are: list[str]) -> None:
    """Looks at the names of a table's columns before its rows are read.

    Raises:
        Unreadable: there is no text, or two columns have the name of one that is needed.
    """
    for name in columns.text_names:
        if name not in there_are:
            raise Unreadable(missing_column(name, there_are))
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


def missing_column(name: str, there_are: list[str]) -> str:
    """Says which columns there are; clipped, because a file without a header has text where names should be."""
    shown = ", ".join(repr(column[:40]) for column in there_are[:10])
    more = f" and {len(there_are) - 10} more" if len(there_are) > 10 else ""
    return f"no column {name!r} (there are {shown}{more}); name the right one in columns.text"


def row_document(
    source: SourceFile,
    position: int,
    record: Mapping[str, object],
    columns: RowColumns,
    max_document_bytes: int,
    repeated: Collection[str] = (),
    note: str | None = None,
    carried: Mapping[str, object] | None = None,
) -> Document:
    """Makes the document of one row; its id holds even where its text cannot be used.

    Of names in ``repeated`` the row holds several values, so that none may speak for it. ``carried`` are the columns to
    carry where they are not those of the record.
    """
    if carried is None and columns.carried:
        carried = _without_repeated({name: record[name] for name in columns.carried if name in record}, repeated)
    document_id = None
    try:
        document_id = _id_of(record, columns)
        if document_id is None:
            document_id = f"{source.path}:{position}"
        gold_label = _plain_value(record.get(columns.gold)) if columns.gold is not None else None
        text = _text_of(record, columns.text, max_document_bytes)
    except Unreadable as reason:
        return replace(failed(source, position, str(reason), document_id), carried=carried)
    if not columns.attributes:
        return Document(document_id, source.uri, position, text, gold_label, note=note, carried=carried)
    attributes = {name: _attribute(record[name]) for name in columns.attributes if name in record}
    attributes = _without_repeated(attributes, repeated)
    return Document(
        document_id, source.uri, position, text, gold_label, attributes=attributes, note=note, carried=carried
    )


def _without_repeated(values: dict[str, object], repeated: Collection[str]) -> dict[str, object]:
    return values | {name: NoValue("is there more than once") for name in repeated if name in values}


def _id_of(record: Mapping[str, object], columns: RowColumns) -> str | None:
    """None where there is none, or a part of it is missing."""
    if isinstance(columns.id, str):
        document_id = _plain_value(record.get(columns.id))
        return None if document_id in _NOT_AN_ID else document_id
    parts = [_plain_value(record.get(name)) for name in columns.id]
    usable = [part for part in parts if part is not None and part not in _NOT_AN_ID]
    return ":".join(usable) if len(usable) == len(parts) else None


def _text_of(record: Mapping[str, object], text: str | Combined, max_document_bytes: int) -> str:
    if isinstance(text, str):
        if text not in record:
            raise Unreadable(f"no field {text!r}; add it, or name the right one in columns.text")
        return _usable_text(record[text], repr(text), max_document_bytes)
    names = " and ".join(repr(name) for name in names_of(text)[:3])
    if not any(name in record for name in text.names):
        raise Unreadable(f"no field {names}; add it, or name the right ones in columns.text")
    values = [_part_of_text(record.get(name), name) for name in text.names]
    if not any(value.strip() for value in values):
        raise Unreadable(f"{names} are blank; fill one in or remove the row")
    return _usable_text(text.text_of(values), names, max_document_bytes)


def _part_of_text(value: object, name: str) -> str:
    """One of several columns, which may be a number; empty where there is nothing."""
    if isinstance(value, NoValue | list | dict):
        what = value.problem if isinstance(value, NoValue) else f"is {_JSON_TYPES[type(value)]}"
        raise Unreadable(f"{name!r} {what}, neither text nor number; name another in columns.text")
    return value if isinstance(value, str) else _plain_value(value) or ""


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
        raise Unreadable(f"{name} is null; fill it in or remove the row")
    if not isinstance(value, str):
        raise Unreadable(f"{name} is {_JSON_TYPES[type(value)]}, not a string; quote it or remove the row")
    if not value.strip():
        raise Unreadable(f"{name} is blank; fill it in or remove the row")
    size_bytes = len(_encode(value))
    if size_bytes > max_document_bytes:
        raise Unreadable(over_limit(name, size_bytes, max_document_bytes))
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
