"""Lists of source files that are kept: what a run was given, and what earlier runs of its series have taken.

In: ``SourceFile`` records and tables of such. Out: tables, and those files that no earlier run has taken. A file is
known by its URI and version, never by a time: one that arrives late, with an old date, is as new as any other.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.documents.records import SourceFile

_SOURCE_FIELDS: list[pa.Field[Any]] = [
    pa.field("uri", pa.string(), nullable=False),
    pa.field("path", pa.string(), nullable=False),
    pa.field("size_bytes", pa.int64(), nullable=False),
    pa.field("version", pa.string(), nullable=False),
    pa.field("problem", pa.string()),
]
SOURCES = pa.schema(_SOURCE_FIELDS)

# 16 bytes for each file version: two of a hundred million agree by chance once in 10^22 series.
_DIGEST = pa.binary(16)
_ROWS_AT_ONCE = 65_536  # a million Python strings at a time would be felt
TAKEN = pa.schema([pa.field("digest", _DIGEST, nullable=False)])


def sources_table(sources: Sequence[SourceFile]) -> pa.Table:
    """Source files as a table of schema `SOURCES`, in the given order."""
    columns = [pa.array([getattr(source, field.name) for source in sources], field.type) for field in SOURCES]
    return pa.Table.from_arrays(columns, schema=SOURCES)


def sources_of(table: pa.Table) -> list[SourceFile]:
    """Source files of a table that `sources_table` made."""
    if "problem" not in table.column_names:  # written by a version before 2026-12, which listed only what it could read
        table = table.append_column(SOURCES.field("problem"), pa.nulls(len(table), pa.string()))
    columns = (table[name].to_pylist() for name in SOURCES.names)
    return [
        SourceFile(uri=uri, path=path, size_bytes=size, version=version, problem=problem)
        for uri, path, size, version, problem in zip(*columns, strict=True)
    ]


def taken_of(sources: pa.Table) -> pa.Table:
    """What is remembered of a list of files that a run has taken: a table of schema `TAKEN`."""
    batches = sources.select(["uri", "version"]).to_batches(max_chunksize=_ROWS_AT_ONCE)
    pairs = (zip(batch["uri"].to_pylist(), batch["version"].to_pylist(), strict=True) for batch in batches)
    return pa.Table.from_arrays([_digests(itertools.chain.from_iterable(pairs))], schema=TAKEN)


def merge_taken(tables: Iterable[pa.Table]) -> pa.Table:
    """The union of several, in an order that depends on nothing but the content."""
    merged = pa.concat_tables([TAKEN.empty_table(), *tables])
    # Python's sort: Arrow has no order for fixed-size binary.
    digests = sorted(set(cast("list[bytes]", merged["digest"].to_pylist())))
    return pa.Table.from_arrays([pa.array(digests, _DIGEST)], schema=TAKEN)


def not_taken(sources: Sequence[SourceFile], taken: pa.Table) -> list[SourceFile]:
    """The files whose present version is not among the taken ones, in the given order."""
    digests = _digests((source.uri, source.version) for source in sources)
    is_taken = pc.is_in(digests, value_set=taken["digest"].combine_chunks())
    return [source for source, known in zip(sources, is_taken.to_pylist(), strict=True) if not known]


def _digests(versions: Iterable[tuple[str | None, str | None]]) -> pa.Array[pa.Scalar[pa.FixedSizeBinaryType]]:
    digests = [hashlib.blake2b(f"{uri}\x00{version}".encode(), digest_size=16).digest() for uri, version in versions]
    return pa.array(digests, _DIGEST)
