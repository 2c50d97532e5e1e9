"""Reader of Parquet files: one row is one document, only the columns asked for are read."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.documents.readers.charsets import decode, joined_notes
from pipelines.documents.readers.heads import row_suffix
from pipelines.documents.readers.lines import Unreadable, failed
from pipelines.documents.readers.row_readers import check_columns, row_document
from pipelines.documents.records import Document, NoValue, RowColumns, SourceFile
from pipelines.documents.sources.sources import EXPANSION_FREE_BYTES, MAX_EXPANSION, head_of, open_seekable
from pipelines.documents.sources.table_formats import table_refusal
from pipelines.documents.text_columns import Combined
from pipelines.store.s3_reading import ObjectUnavailable
from pipelines.store.schemas import USE_THREADS

PARQUET_MAGIC = b"PAR1"
_ROWS_PER_BATCH = 128  # a batch of the largest documents is what bounds the memory
_PAGE_BUFFER_BYTES = 1024 * 1024  # read row groups in pieces; whole ones can be gigabytes
_Scalar: TypeAlias = "pa.Scalar[pa.DataType]"
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)  # store failures are StoreError by now


def read_parquet(source: SourceFile, columns: RowColumns, max_document_bytes: int) -> Iterator[Document]:
    """Streams rows; a file damaged halfway gives its good rows and one failed document for the rest."""
    refusal = table_refusal(source)
    if refusal is not None:
        raise Unreadable(refusal)
    with open_seekable(source) as file:
        magic = file.read(4)
        if not magic:
            raise Unreadable("is empty; send it again or remove it")
        if magic.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            raise Unreadable("Parquet inside gzip or zstd cannot be read; decompress it (Parquet compresses by itself)")
        if magic != PARQUET_MAGIC:
            raise Unreadable("not a Parquet file; rename it or write it again")
        try:
            parquet = pq.ParquetFile(file, buffer_size=_PAGE_BUFFER_BYTES, pre_buffer=False)
            schema = parquet.schema_arrow
        except _DAMAGED as error:
            raise Unreadable("Parquet file is cut off or damaged; write it again") from error
        check_columns(columns, schema.names)
        if isinstance(columns.text, str):
            _check_text_column(schema, columns.text)
        row_number = 0
        try:
            names = _readable(schema, columns)
            carried = [name for name in columns.carried if schema.get_field_index(name) >= 0]
            read = list(dict.fromkeys([*names, *carried]))
            _check_expansion(parquet, read)
            unreadable = _unreadable(schema, (columns.attributes | set(columns.text_names)).difference(names))
            repeated = _unreadable(schema, set(columns.carried).difference(carried))
            for record in _records(parquet, read):
                takes = {name: record[name] for name in carried} | repeated if columns.carried else None
                needed = {name: record[name] for name in names}
                yield _document(source, row_number, needed, unreadable, columns, max_document_bytes, takes)
                row_number += 1
        except _DAMAGED:
            yield failed(source, row_number, "Parquet data is damaged from this row on; write the file again")


def first_parquet_records(source: SourceFile, most: int) -> list[dict[str, object]]:
    """The first rows, with every column that holds text, numbers or truth values.

    Raises:
        Unreadable: it is part of a table with a log, or damaged.
    """
    if refusal := table_refusal(source):
        raise Unreadable(refusal)
    with open_seekable(source) as file:
        try:
            parquet = pq.ParquetFile(file, buffer_size=_PAGE_BUFFER_BYTES, pre_buffer=False)
            names = [field.name for field in parquet.schema_arrow if _is_string(field.type) or _is_number(field.type)]
            single = [name for name in names if names.count(name) == 1]
            _check_expansion(parquet, single)
            records = islice(_records(parquet, single), most)
            return [{name: _plain(scalar, name, {}) for name, scalar in record.items()} for record in records]
        except _DAMAGED as error:
            raise Unreadable("Parquet file is cut off or damaged; write it again") from error


def is_parquet(source: SourceFile) -> bool:
    """Whether a file is Parquet, whatever its name says.

    Raises:
        Unreadable: it is gone, or may not be read.
    """
    try:
        return row_suffix(source.path) == ".parquet" or head_of(source).startswith(PARQUET_MAGIC)
    except (FileNotFoundError, PermissionError, ObjectUnavailable) as error:
        raise Unreadable(str(error)) from error


def column_types(source: SourceFile, names: Collection[str]) -> dict[str, pa.DataType]:
    """The types of those columns that are there once, less the way in which they are encoded.

    Raises:
        Unreadable: the file is damaged, or gone.
    """
    try:
        with open_seekable(source) as file:
            schema = pq.ParquetFile(file, pre_buffer=False).schema_arrow
    except (*_DAMAGED, ObjectUnavailable) as error:
        raise Unreadable("Parquet file is cut off or damaged; write it again") from error
    return {name: _carried_type(schema.field(name).type) for name in names if schema.get_field_index(name) >= 0}


def _carried_type(column_type: pa.DataType) -> pa.DataType:
    """As a result holds it: text is text, however its file encodes it; so is what no program could show."""
    if _is_string(column_type) or (pa.types.is_nested(column_type) and "[ns" in str(column_type)):
        return pa.string()
    if isinstance(column_type, pa.DictionaryType):
        return cast("pa.DataType", column_type.value_type)
    return column_type.storage_type if isinstance(column_type, pa.BaseExtensionType) else column_type


def _check_text_column(schema: pa.Schema, name: str) -> None:
    column_type = schema.field(name).type
    if not _is_string(column_type):
        raise Unreadable(f"column {name!r} is {column_type}, not string; cast it, or name another in columns.text")


def _check_expansion(parquet: pq.ParquetFile, names: Collection[str]) -> None:
    _check_footer(parquet.metadata, names)
    paths = [parquet.schema.column(index).path for index in range(len(parquet.schema))]
    # A column of lists or structs has a path for each part.
    needed = [at for at, path in enumerate(paths) if path in names or path.partition(".")[0] in names]
    for group in map(parquet.metadata.row_group, range(parquet.metadata.num_row_groups)):
        for chunk in map(group.column, needed):
            stored, unpacked = chunk.total_compressed_size, chunk.total_uncompressed_size
            if unpacked > max(EXPANSION_FREE_BYTES, stored * MAX_EXPANSION):
                raise Unreadable(
                    f"its compressed data becomes more than {MAX_EXPANSION} times as much; if it is meant, write the "
                    "file uncompressed"
                )


def _check_footer(metadata: pq.FileMetaData, names: Collection[str]) -> None:
    """Have Arrow look at what the footer says of the needed columns, where a lie is an error.

    `RowGroupMetaData.column` of pyarrow 26 ends the whole process over a damaged footer: the error is thrown where
    nothing catches it. The readers of the columns look at the same first, and raise it; here they get no data to read.

    Raises:
        OSError: the footer is damaged.
    """
    no_data = pa.PythonFile(_NoData(), mode="r")
    probe = pq.ParquetFile(no_data, metadata=metadata, pre_buffer=False, buffer_size=_PAGE_BUFFER_BYTES)
    for group in range(metadata.num_row_groups):
        with suppress(_NothingReadError):
            next(
                probe.iter_batches(batch_size=1, row_groups=[group], columns=list(names), use_threads=USE_THREADS), None
            )


class _NothingReadError(Exception):
    """So far nothing was wrong, and now data would be read."""


class _NoData(io.RawIOBase):
    """As large a file as there may be, of which nothing can be read."""

    def __init__(self) -> None:
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: 2**62}[whence]
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        raise _NothingReadError


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


def _readable(schema: pa.Schema, columns: RowColumns) -> list[str]:
    """The columns to read; an id or label of another type (a date, a struct) counts as absent."""
    # A date may be a part of a text or an id; alone it is neither.
    parts = set(columns.text_names if isinstance(columns.text, Combined) else ())
    parts |= set(columns.id if isinstance(columns.id, tuple) else ())
    wanted = {*columns.text_names, *columns.id_names, *columns.attributes} | ({columns.gold} if columns.gold else set())
    present = [schema.field(name) for name in sorted(wanted) if schema.get_field_index(name) >= 0]
    return [
        field.name
        for field in present
        if _is_string(field.type)
        or _is_number(field.type)
        or (field.name in parts and pa.types.is_temporal(field.type))
    ]


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
    for batch in parquet.iter_batches(batch_size=_ROWS_PER_BATCH, columns=names, use_threads=USE_THREADS):
        for index in range(batch.num_rows):
            yield {name: batch.column(name)[index] for name in names}


def _document(
    source: SourceFile,
    row_number: int,
    record: dict[str, _Scalar],
    unreadable: dict[str, object],
    columns: RowColumns,
    max_document_bytes: int,
    carried: dict[str, object] | None,
) -> Document:
    notes: dict[str, str | None] = {}
    try:
        values = {name: _plain(scalar, name, notes) for name, scalar in record.items()} | unreadable
    except Unreadable as reason:
        return replace(failed(source, row_number, str(reason)), carried=carried)
    note = joined_notes(*notes.values())
    return row_document(source, row_number, values, columns, max_document_bytes, note=note, carried=carried)


def _plain(scalar: _Scalar, name: str, notes: dict[str, str | None]) -> object:
    """The value; of short floats the shortest spelling, because 0.7 written as float32 is meant to be 0.7."""
    if pa.types.is_temporal(scalar.type):  # Python has no nanoseconds
        return scalar.cast(pa.string()).as_py()
    try:
        value: object = scalar.as_py()
    except UnicodeDecodeError:  # Parquet's writers do not check what they call a string
        stored = scalar.value if isinstance(scalar, pa.DictionaryScalar) else scalar
        decoded = decode(stored.cast(pa.binary(), safe=False).as_py(), "string")
        notes[name] = decoded.note
        return decoded.text
    if isinstance(value, float) and isinstance(scalar, pa.FloatScalar):
        return float(str(np.float32(value)))
    if isinstance(value, float) and isinstance(scalar, pa.HalfFloatScalar):
        return float(str(np.float16(value)))
    return value
