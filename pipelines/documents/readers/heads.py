"""The head of a source file: which columns its first rows have, before anything is started for them.

In: a ``SourceFile``. Out: its `Head`, or None where nothing can be said: the file is one document, is empty, or cannot
be read, which is told by its readers as a failed row. Bounded: the first megabyte, or a Parquet file's footer and
first rows. Values are kept for one purpose: to see whether known answers are labels.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.documents.readers.delimited.dialects import CsvStream
from pipelines.documents.readers.delimited.reader import csv_rows
from pipelines.documents.readers.json_values import read_values, shape_of
from pipelines.documents.readers.lines import Utf8Stream
from pipelines.documents.records import RowColumns, SourceFile
from pipelines.documents.sources.sources import open_seekable
from pipelines.errors import StoreError
from pipelines.store.s3_reading import ObjectUnavailable
from pipelines.store.schemas import USE_THREADS

HEAD_BYTES = 1024 * 1024
HEAD_ROWS = 1_000
_READ_BYTES = 64 * 1024
_PARQUET_MAGIC, _GZIP_MAGIC, _ZSTD_MAGIC = b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_COMPRESSED = (".gz", ".gzip", ".zst")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".json")
ROW_SUFFIXES = (*_DELIMITERS, *_JSON_LINES, ".parquet")
_OTHER_DELIMITERS = (";", "\t", "|", ",")
# What a file may do to a reader that only wants its head; its own reader says it with a place.
_UNREADABLE = (OSError, EOFError, ValueError, pa.ArrowException, csv.Error, ObjectUnavailable, RecursionError)
_LONGEST_NAME = 60
_NUMBER = re.compile(r"[-+]?\d[\d.,:/ -]*%?")


@dataclass(frozen=True)
class Head:
    """What the first rows of a file have.

    ``columns`` of a file with a header are those of its header; of JSON Lines, all names that occur. ``values`` are the
    values of one column, as they are.
    """

    source: SourceFile
    columns: tuple[str, ...]
    rows: int
    is_whole: bool  # the columns are those of every row
    values: tuple[object, ...] = ()
    is_headless: bool = False  # the first line looks like a row, not like names
    delimiter: str | None = None  # what seems to stand between the fields, where the job says something else
    guessed_encoding: str | None = None  # of a CSV file that is no UTF-8
    column_types: tuple[str, ...] | None = None  # of Parquet

    @property
    def shown_columns(self) -> str:
        """For messages; clipped, and nothing of a line that may be a document's text."""
        shown = ", ".join(repr(name[:40]) for name in self.columns[:10])
        return f"{shown} and {len(self.columns) - 10} more" if len(self.columns) > 10 else shown


def row_suffix(path: str) -> str | None:
    """The suffix of a file that holds rows, less a compression; None for one that is a document."""
    name = PurePosixPath(path.lower())
    suffix = name.with_suffix("").suffix if name.suffix in _COMPRESSED else name.suffix
    return suffix if suffix in ROW_SUFFIXES else None


def read_head(source: SourceFile, wanted: RowColumns = RowColumns()) -> Head | None:  # noqa: B008  # frozen
    """Look at the first rows of a file; one read of the store, two of Parquet.

    Args:
        source: a file whose suffix is one of `ROW_SUFFIXES`.
        wanted: what the job says of its columns; values are kept of the gold one.

    Raises:
        StoreError: the store does not answer.
    """
    suffix = row_suffix(source.path)
    try:
        with open_seekable(source) as file:
            raw = file.read(HEAD_BYTES)
        if raw.startswith(_PARQUET_MAGIC):  # whatever its name says
            return _parquet_head(source, wanted.gold)
        data, is_whole = _unpacked(raw, source.size_bytes <= len(raw))
        if suffix in _DELIMITERS:
            return _delimited_head(source, data, _DELIMITERS[suffix], wanted)
        return _json_head(source, _json_lines(data, is_whole), is_whole, wanted.gold) if suffix in _JSON_LINES else None
    except StoreError:
        raise
    except _UNREADABLE:
        return None


def _unpacked(raw: bytes, is_whole: bool) -> tuple[bytes, bool]:
    """The first bytes of the content, and whether they are all; damaged data ends where the damage begins."""
    if raw.startswith(_GZIP_MAGIC):
        return _gunzipped(raw, is_whole)
    if not raw.startswith(_ZSTD_MAGIC):
        return raw, is_whole
    unpacked = b""
    with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
        try:
            while len(unpacked) < HEAD_BYTES:
                block = stream.read(_READ_BYTES)
                if not block:
                    return unpacked, is_whole
                unpacked += block
        except OSError:
            pass  # cut off where the head ends
    return unpacked, False


def _gunzipped(raw: bytes, is_whole: bool) -> tuple[bytes, bool]:
    unpacked = b""
    while raw and len(unpacked) < HEAD_BYTES:
        member = zlib.decompressobj(wbits=31)
        try:
            unpacked += member.decompress(raw, HEAD_BYTES)
        except zlib.error:
            return unpacked, False
        if not member.eof:
            return unpacked, False
        raw = member.unused_data
    return unpacked, is_whole and not raw


def _text(data: bytes, is_whole: bool) -> str:
    """The head as text, less a row that may be cut; what is no text is for the readers to tell."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if is_utf16 else "utf-8-sig", errors="replace")
    return text if is_whole else text.rpartition("\n")[0] or text


def _delimited_head(source: SourceFile, data: bytes, delimiter: str, wanted: RowColumns) -> Head | None:
    stream = CsvStream(io.BufferedReader(io.BytesIO(data)), delimiter, wanted.csv, wanted.text_names)
    rows = [row.fields for row in islice(csv_rows(stream, HEAD_BYTES), HEAD_ROWS + 1) if row.problem is None]
    if not rows:
        return None
    names, below = rows[0], rows[1:]
    place = names.index(wanted.gold) if wanted.gold in names else None
    values = [row[place] for row in below if len(row) == len(names)] if place is not None else []
    return Head(
        source=source,
        columns=tuple(names),
        rows=len(below),
        is_whole=True,
        values=tuple(values),
        is_headless=looks_like_data(names, below),
        delimiter=_other_delimiter(names[0], stream.dialect.delimiter) if len(names) == 1 else None,
        guessed_encoding=stream.dialect.guessed_encoding,
    )


def looks_like_data(names: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether a first line is more likely a row: names are short, are no numbers, and do not come again below."""
    if any(not name.strip() or len(name) > _LONGEST_NAME or _NUMBER.fullmatch(name.strip()) for name in names):
        return True
    if max(Counter(names).values()) > 1:
        return False  # a header with a repeated name is one all the same
    same = (row for row in below if len(row) == len(names))
    return any(name == value for row in same for name, value in zip(names, row, strict=True))


def _other_delimiter(header: str, delimiter: str) -> str | None:
    """What separates the fields of a header that seems to have only one."""
    counts = {other: header.count(other) for other in _OTHER_DELIMITERS if other != delimiter}
    likeliest = max(counts, key=lambda other: counts[other])
    return likeliest if counts[likeliest] else None


def _json_lines(data: bytes, is_whole: bool) -> list[str]:
    """The objects of the head, one each, whether they stand in lines or otherwise."""
    stream = Utf8Stream(io.BufferedReader(io.BytesIO(data)))
    shape = shape_of(stream.peek())
    if shape == "lines":
        return [line for line in _text(data, is_whole).split("\n") if line.strip()]
    values = read_values(stream, HEAD_BYTES, in_array=shape == "array")
    return [line.data.decode(errors="replace") for line in islice(values, HEAD_ROWS + 1) if line.problem is None]


def _json_head(source: SourceFile, lines: list[str], is_whole: bool, wanted: str | None) -> Head | None:
    records = [record for line in lines[:HEAD_ROWS] if (record := _object_of(line)) is not None]
    if not records:
        return None
    return Head(
        source=source,
        columns=tuple(dict.fromkeys(name for record in records for name in record)),
        rows=len(records),
        is_whole=is_whole and len(lines) <= HEAD_ROWS,
        values=tuple(record[wanted] for record in records if wanted in record),
    )


def _object_of(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _parquet_head(source: SourceFile, wanted: str | None) -> Head:
    with open_seekable(source) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        schema = parquet.schema_arrow
        values: list[object] = []
        if wanted is not None and schema.get_field_index(wanted) >= 0:
            batch = next(parquet.iter_batches(batch_size=HEAD_ROWS, columns=[wanted], use_threads=USE_THREADS), None)
            values = [] if batch is None else batch.column(0).to_pylist()
        return Head(
            source=source,
            columns=tuple(schema.names),
            rows=parquet.metadata.num_rows,
            is_whole=True,
            values=tuple(values),
            column_types=tuple(str(field.type) for field in schema),
        )
