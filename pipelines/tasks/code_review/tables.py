"""findings.arrow: one row per finding, all of them, whatever is reported in the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from typing import Any

import pyarrow as pa

from pipelines.tasks.code_review.findings import Finding, FindingRow

_COLUMNS: list[pa.Field[Any]] = [
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("document_id", pa.string(), nullable=False),
    pa.field("repository", pa.string()),
    pa.field("path", pa.string(), nullable=False),
    pa.field("line", pa.int64(), nullable=False),
    pa.field("end_line", pa.int64(), nullable=False),
    pa.field("end_column", pa.int64()),
    pa.field("severity", pa.string(), nullable=False),
    pa.field("category", pa.string(), nullable=False),
    pa.field("message", pa.string(), nullable=False),
    pa.field("suggestion", pa.string()),
    pa.field("fingerprint", pa.string(), nullable=False),
    pa.field("raw_prob", pa.float64()),
    pa.field("confidence", pa.float64()),
    pa.field("route", pa.string(), nullable=False),
]
FINDINGS = pa.schema(_COLUMNS).with_metadata({"sluice.schema_version": "1"})

_OF_FINDING = [field.name for field in fields(Finding)]
_OF_ROW = [field.name for field in fields(FindingRow) if field.name != "finding"]


def findings_table(rows: Iterable[FindingRow]) -> pa.Table:
    """Make a table of schema `FINDINGS`."""
    return pa.Table.from_pylist([_flat(row) for row in rows], schema=FINDINGS)


def findings_of(table: pa.Table) -> Iterator[FindingRow]:
    """The inverse of `findings_table`, a record batch at a time."""
    for batch in table.to_batches():
        for row in batch.to_pylist():
            finding = Finding(**{name: row[name] for name in _OF_FINDING})
            yield FindingRow(finding=finding, **{name: row[name] for name in _OF_ROW})


def _flat(row: FindingRow) -> dict[str, object]:
    flat = asdict(row)
    finding: dict[str, object] = flat.pop("finding")
    return flat | finding
