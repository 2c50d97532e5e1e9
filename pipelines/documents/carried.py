"""The input's columns that are carried to the results: of which type each is, and their values as one Arrow column.

Types are told once, from the heads of the first files, before any row is planned: those of Parquet are kept, those of
JSON are whole number, number, truth value or text; CSV is text. Files that disagree meet in the wider number, else in
text. A later value that does not fit the type is left out, and its row says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipelines.documents.readers.first_rows import first_rows
from pipelines.documents.readers.heads import row_suffix
from pipelines.documents.readers.lines import Unreadable
from pipelines.documents.readers.parquet_reader import column_types, is_parquet
from pipelines.documents.records import NoValue, RowColumns, SourceFile

_LOOKED_AT, _AT_ONCE, _ROWS = 20, 8, 200
Type = pa.DataType


def carried_schema(columns: RowColumns, sources: Sequence[SourceFile]) -> pa.Schema:
    """The type of each column that is carried; text where nothing is to be seen of it.

    Raises:
        StoreError: the store does not answer.
    """
    files = [source for source in sources if row_suffix(source.path)] if columns.carried else []
    step = max(len(files) - 1, 1) / (_LOOKED_AT - 1)
    chosen = files if len(files) <= _LOOKED_AT else [files[round(place * step)] for place in range(_LOOKED_AT)]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="columns") as pool:
        found = list(pool.map(lambda source: _types_in(columns, source), chosen))
    return pa.schema(
        [pa.field(name, _joined(types[name] for types in found if name in types)) for name in columns.carried]
    )


def _types_in(columns: RowColumns, source: SourceFile) -> Mapping[str, Type]:
    try:
        if is_parquet(source):
            return column_types(source, columns.carried)
        rows = first_rows(source, _ROWS, columns.csv, columns.text_names)
    except Unreadable:
        return {}
    seen = {name: [value for row in rows if (value := row.get(name)) is not None] for name in columns.carried}
    return {name: _joined(map(_type_of, values)) for name, values in seen.items() if values}


def _type_of(value: object) -> Type:
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if -(2**63) <= value < 2**63 else pa.string()
    return pa.float64() if isinstance(value, float) else pa.string()


def _joined(types: Iterable[Type]) -> Type:
    """One type for values of several."""
    joined: Type | None = None
    for each in types:
        if joined is None or joined == each:
            joined = each
        elif _is_number(joined) and _is_number(each):
            joined = pa.int64() if pa.types.is_integer(joined) and pa.types.is_integer(each) else pa.float64()
        else:
            return pa.string()
    return pa.string() if joined is None else joined


def _is_number(column_type: Type) -> bool:
    return pa.types.is_integer(column_type) or pa.types.is_floating(column_type)


@dataclass(frozen=True)
class Carrier:
    """Makes columns of what documents carry."""

    schema: pa.Schema
    most_bytes: int  # of a value of Parquet; of other files the row is bounded

    def column(self, documents: Sequence[Mapping[str, object] | None]) -> tuple[pa.Array[Any], list[str | None]]:
        """A struct of the columns, and by document what is to be known of it."""
        notes: list[str | None] = [None] * len(documents)
        arrays = []
        for field in self.schema:
            values = [None if carried is None else carried.get(field.name) for carried in documents]
            arrays.append(self._array(field, values, notes))
        return pa.StructArray.from_arrays(arrays, fields=list(self.schema)), notes

    def _array(self, field: pa.Field[Any], values: list[Any], notes: list[str | None]) -> pa.Array[Any]:
        fit = _FITS.get(field.type, _as_it_is)
        fitted: list[Any] = []
        for place, value in enumerate(values):
            if value is None:
                fitted.append(None)
                continue
            try:
                fitted.append(fit(self._bounded(value), field.type))
            except _DoesNotFitError as reason:
                fitted.append(None)
                told = f"carry: {field.name!r} {reason} and is left out"
                notes[place] = told if notes[place] is None else f"{notes[place]}; {told}"
        array: pa.Array[Any] = pa.array(fitted, field.type)
        return array

    def _bounded(self, value: object) -> object:
        if isinstance(value, NoValue):
            raise _DoesNotFitError(value.problem)
        is_large = isinstance(value, pa.BinaryScalar | pa.StringScalar | pa.LargeBinaryScalar | pa.LargeStringScalar)
        if is_large and value.is_valid and len(value.as_buffer()) > self.most_bytes:  # type: ignore[attr-defined]  # not in stubs
            raise _DoesNotFitError(f"is over limits.max_document_bytes ({self.most_bytes})")
        return value


class _DoesNotFitError(Exception):
    """Why a value cannot be carried."""


def _plain(value: object) -> object:
    """What Python makes of a value; None of one that is none."""
    if not isinstance(value, pa.Scalar):
        return value
    try:
        return value.as_py()
    except UnicodeDecodeError:
        raise _DoesNotFitError("is no UTF-8") from None
    except (ValueError, OverflowError):  # nanoseconds, a year of ten thousand: Python has no such time
        return str(value) if pa.types.is_nested(value.type) else value.cast(pa.string()).as_py()


def _text(given: object, column_type: Type) -> str | None:
    value = _plain(given)
    if value is None or isinstance(value, str):
        return value if value is None else _usable(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list | dict):
        return _usable(json.dumps(value, ensure_ascii=False, default=str))
    return None if _is_nan(value) else str(value)


def _usable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _DoesNotFitError("holds half of a surrogate pair") from None
    return text


def _whole_number(given: object, column_type: Type) -> int | None:
    value = _plain(given)
    if value is None or _is_nan(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise _DoesNotFitError(f"is {_kind(value)}, not a whole number as in the first rows,")
    return value


def _number(given: object, column_type: Type) -> float | None:
    value = _plain(given)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | None):
        raise _DoesNotFitError(f"is {_kind(value)}, not a number as in the first rows,")
    try:
        return None if value is None else float(value)
    except OverflowError:
        raise _DoesNotFitError("is too large a number") from None


def _truth(given: object, column_type: Type) -> bool | None:
    value = _plain(given)
    if not isinstance(value, bool | None):
        raise _DoesNotFitError(f"is {_kind(value)}, not true or false as in the first rows,")
    return value


def _as_it_is(given: object, column_type: Type) -> object:
    """A value of a type that only Parquet has."""
    if isinstance(given, pa.Scalar):
        value: Any = given.value if isinstance(given, pa.DictionaryScalar | pa.ExtensionScalar) else given
        if value.type == column_type:
            return value
        try:
            return value.cast(column_type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise _DoesNotFitError(f"is of type {given.type}, not {column_type} as in the first files,") from None
    raise _DoesNotFitError(f"is {_kind(given)}, not {column_type} as in the first files,")


def _is_nan(value: object) -> bool:
    return isinstance(value, float | Decimal) and math.isnan(value)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    return "a number" if isinstance(value, int | float | Decimal) else "of another type"


_FITS: dict[Type, Callable[[object, Type], Any]] = {
    pa.string(): _text,
    pa.int64(): _whole_number,
    pa.float64(): _number,
    pa.bool_(): _truth,
}
