"""Reader of Parquet files: one row is one document, only the columns asked for are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.documents.lines import Unreadable, failed
from pipelines.documents.records import Columns, Document, NoValue, SourceFile
from pipelines.documents.row_readers import missing_column, row_document
from pipelines.documents.sources import COMPRESSIONS, open_seekable

_ROWS_PER_BATCH = 128  # a batch of the largest documents is what bounds the memory
_PAGE_BUFFER_BYTES = 1024 * 1024  # read row groups in pieces; whole ones can be gigabytes
_Scalar: TypeAlias = "pa.Scalar[pa.DataType]"
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)  # store failures are StoreError by now


def read_parquet(source: SourceFile, columns: Columns, max_document_bytes: int) -> Iterator[Document]:
    """Streams rows; a file damaged halfway gives its good rows and one failed document for the rest."""
    if source.path.lower().endswith(COMPRESSIONS):
        raise Unreadable("Parquet inside .gz or .zst cannot be read; decompress it (Parquet compresses by itself)")
    with open_seekable(source) as file:
        magic = file.read(4)
        if not magic:
            return
        if magic != b"PAR1":
            raise Unreadable("not a Parquet file; rename it or write it again")
        try:
            parquet = pq.ParquetFile(file, buffer_size=_PAGE_BUFFER_BYTES, pre_buffer=False)
            schema = parquet.schema_arrow
        except _DAMAGED as error:
            raise Unreadable("Parquet file is cut off or damaged; write it again") from error
        _check_text_column(schema, columns.text)
        row_number = 0
        try:
            names = _readable(schema, columns)
            unreadable = _unreadable(schema, columns.attributes.difference(names))
            for record in _records(parquet, names):
                yield _document(source, row_number, record, unreadable, columns, max_document_bytes)
                row_number += 1
        except _DAMAGED:
            yield failed(source, row_number, "Parquet data is damaged from this row on; write the file again")


def _check_text_column(schema: pa.Schema, name: str) -> None:
    if schema.get_field_index(name) < 0:
        raise Unreadable(missing_column(name, schema.names))
    column_type = schema.field(name).type
    if not _is_string(column_type):
        raise Unreadable(f"column {name!r} is {column_type}, not string; cast it, or name another in columns.text")


def _is_string(column_type: pa.DataType) -> bool:
    value_type = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
    return any(
        is_type(value_type) for is_type in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_number(column_type: pa.DataType) -> bool:
    return any(
        is_type(column_type)
        for is_type in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    )


def _readable(schema: pa.Schema, columns: Columns) -> list[str]:
    """The columns to read; an id or label of another type (a date, a struct) counts as absent."""
    wanted = {columns.text, columns.id, columns.gold or columns.text, *columns.attributes}
    present = [schema.field(name) for name in sorted(wanted) if schema.get_field_index(name) >= 0]
    return [field.name for field in present if _is_string(field.type) or _is_number(field.type)]


def _unreadable(schema: pa.Schema, names: Iterable[str]) -> dict[str, object]:
    """Why the columns among ``names`` that there are cannot be used; the others are missing."""
    types = {
        name: [str(schema.field(at).type).partition("<")[0] for at in schema.get_all_field_indices(name)]
        for name in names
    }
    return {
        name: NoValue(f"is of type {found[0]}" if len(found) == 1 else "is there more than once")
        for name, found in types.items()
        if found
    }


def _records(parquet: pq.ParquetFile, names: list[str]) -> Iterator[dict[str, _Scalar]]:
    for batch in parquet.iter_batches(batch_size=_ROWS_PER_BATCH, columns=names):
        for index in range(batch.num_rows):
            yield {name: batch.column(name)[index] for name in names}


def _document(
    source: SourceFile,
    row_number: int,
    record: dict[str, _Scalar],
    unreadable: dict[str, object],
    columns: Columns,
    max_document_bytes: int,
) -> Document:
    try:
        values = {name: _plain(scalar) for name, scalar in record.items()} | unreadable
    except UnicodeDecodeError as error:
        return failed(source, row_number, f"not UTF-8 at byte {error.start} of a string; convert it to UTF-8")
    return row_document(source, row_number, values, columns, max_document_bytes)


def _plain(scalar: _Scalar) -> object:
    """The value; of short floats the shortest spelling, because 0.7 written as float32 is meant to be 0.7."""
    value: object = scalar.as_py()
    if isinstance(value, float) and isinstance(scalar, pa.FloatScalar):
        return float(str(np.float32(value)))
    if isinstance(value, float) and isinstance(scalar, pa.HalfFloatScalar):
        return float(str(np.float16(value)))
    return value
