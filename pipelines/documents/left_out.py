"""The list of what a run left out by rule: kept with the run, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipelines.documents.records import Document, LeftOut

_COLUMNS: list[pa.Field[Any]] = [
    pa.field("document_uri", pa.string(), nullable=False),
    pa.field("path", pa.string(), nullable=False),  # empty: all of it
    pa.field("reason", pa.string(), nullable=False),
    pa.field("detail", pa.string(), nullable=False),
]
LEFT_OUT = pa.schema(_COLUMNS)


class LeftOutList:
    """Gathers the records as they come by among the documents."""

    def __init__(self, listed: Iterable[LeftOut] = ()) -> None:
        """Begin with what listing the input has left out."""
        self._records = list(listed)

    def take(self, found: Iterable[Document | LeftOut]) -> Iterator[Document]:
        """The documents alone; what is left out is noted as they are read."""
        for each in found:
            if isinstance(each, Document):
                yield each
            else:
                self._records.append(each)

    def counts(self) -> dict[str, int]:
        """Number of documents left out, by reason."""
        return dict(sorted(Counter(record.reason for record in self._records).items()))

    def table(self) -> pa.Table:
        """Everything left out, as a table of schema `LEFT_OUT`."""
        return pa.Table.from_pylist([asdict(record) for record in self._records], schema=LEFT_OUT)


def first_documents(found: Iterable[Document | LeftOut], most: int | None) -> Iterator[Document | LeftOut]:
    """What is found up to the last of so many documents; nothing beyond it is read."""
    documents = 0
    for each in found:
        yield each
        documents += isinstance(each, Document)
        if documents == most:
            return


def told_left_out(counts: Mapping[str, int]) -> str:
    """The counts in one line: "3 (2 hidden, 1 special)"; empty where there are none."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} ({reasons})" if counts else ""
