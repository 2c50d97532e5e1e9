"""The first rows of a source file, with all their columns: for whoever wants to know what an input looks like.

In: a ``SourceFile`` of rows. Out: mappings of column to value, as the readers of documents read them: same decoding,
same rules, at most so many rows of the file's first megabytes. A row that cannot be read is left out here, for its
reader will tell of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from pipelines.documents.readers.delimited.dialects import CsvStream
from pipelines.documents.readers.delimited.reader import csv_rows
from pipelines.documents.readers.heads import looks_like_data, row_suffix
from pipelines.documents.readers.json_values import read_values, shape_of
from pipelines.documents.readers.lines import Unreadable, Utf8Stream, read_lines
from pipelines.documents.readers.parquet_reader import PARQUET_MAGIC, first_parquet_records
from pipelines.documents.readers.row_readers import json_object
from pipelines.documents.records import CsvMarks, SourceFile
from pipelines.documents.sources.sources import ByteStream, head_of, open_source
from pipelines.store.s3_reading import ObjectUnavailable

MOST_BYTES = 8 * 1024 * 1024
_LARGEST_ROW_BYTES = 1_000_000  # as a job has it that does not say otherwise
_DELIMITERS = {".csv": ",", ".tsv": "\t"}

_UNSAID = CsvMarks()

Row = dict[str, object]


def first_rows(
    source: SourceFile,
    most: int,
    marks: CsvMarks = _UNSAID,
    needed: Sequence[str] = (),
) -> list[Row]:
    """At most ``most`` rows from the top of a file; of CSV, written as ``marks`` say, with the columns ``needed``.

    Raises:
        Unreadable: why there are none to be had; the text names no content.
        StoreError: the store does not answer.
    """
    if source.problem is not None:
        raise Unreadable(source.problem)
    try:
        if head_of(source).startswith(PARQUET_MAGIC) or row_suffix(source.path) == ".parquet":
            return first_parquet_records(source, most)
        with open_source(source) as stream:
            bounded = _Bounded(stream)
            delimiter = _DELIMITERS.get(row_suffix(source.path) or "")
            if delimiter:
                rows = _delimited(CsvStream(bounded, delimiter, marks, needed), most)
            else:
                rows = list(islice(_json(bounded), most + 1))
            # Where the bytes end in the middle, so does the last row.
            return rows[:-1] if bounded.is_cut and 1 < len(rows) <= most else rows[:most]
    except FileNotFoundError:
        raise Unreadable("gone since it was listed; put it back") from None
    except PermissionError:
        raise Unreadable("may not be read (permission denied); grant read access") from None
    except ObjectUnavailable as error:
        raise Unreadable(str(error)) from error


class _Bounded:
    """A stream that ends after `MOST_BYTES`, however much more there is."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._left = MOST_BYTES
        self.is_cut = False

    def read1(self, size: int, /) -> bytes:
        if not self._left:
            self.is_cut = True
            return b""
        block = self._stream.read1(min(size, self._left))
        self._left -= len(block)
        return block


def _delimited(stream: CsvStream, most: int) -> list[Row]:
    lines = csv_rows(stream, _LARGEST_ROW_BYTES)
    header = next(lines, None)
    if header is None:
        return []
    if header.problem is not None:
        raise Unreadable(f"header: {header.problem}")
    names = header.fields
    fields = [row.fields for row in islice(lines, most + 1) if row.problem is None and len(row.fields) == len(names)]
    # pandas leaves the name of its index empty: that alone makes no row of a header.
    if looks_like_data([name or f"column {place}" for place, name in enumerate(names)], fields):
        raise Unreadable(
            "its first line looks like data, not like names; put a line with the columns' names on top, such as id,text"
        )
    repeated = {name for name in names if names.count(name) > 1}
    return [
        {name: value for name, value in zip(names, row, strict=True) if name and name not in repeated} for row in fields
    ]


def _json(stream: ByteStream) -> Iterator[Row]:
    text = Utf8Stream(stream)
    shape = shape_of(text.peek())
    if shape == "lines":
        lines = read_lines(text, _LARGEST_ROW_BYTES, skip_blank=True)
    else:
        lines = read_values(text, _LARGEST_ROW_BYTES, in_array=shape == "array")
    for line in lines:
        if line.problem is None and line.data.strip():
            try:
                yield json_object(line, None)[0]
            except Unreadable:
                continue
