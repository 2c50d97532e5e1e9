"""What the tests of the readers share: a limit, a good line, a Parquet file in memory, the outcomes."""

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.documents.records import Document

LIMIT = 1000
GOOD = '{"text": "good"}\n'
Read = Callable[..., list[Document]]


def outcomes(documents: list[Document]) -> list[str | None]:
    return [document.text if document.failure is None else document.failure for document in documents]


def parquet_bytes(table: pa.Table, rows_per_group: int = 1000) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows_per_group, use_dictionary=False, compression="gzip")
    return sink.getvalue()
