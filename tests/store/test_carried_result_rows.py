"""`pipeline results` of a run that carries columns of its input."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import JobError
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.result_rows import FileFormat, result_rows, write_file
from pipelines.store.schemas import ANSWERED_RESULTS, RESULTS, to_arrow, to_parquet
from tests.made_up_run import accepted

NANOSECONDS = pa.timestamp("ns", tz="UTC")
CARRIED = pa.schema({"customer": pa.int64(), "at": NANOSECONDS})


@pytest.fixture
def root(tmp_path: Path) -> str:
    store = Store(str(tmp_path / "run"))
    table = pa.Table.from_pylist([accepted(1)], RESULTS)
    for field, value in zip(CARRIED, (7, 1), strict=True):
        table = table.append_column(field, pa.array([value], field.type))
    store.create(layout.JOB, b"")
    store.create(layout.RUN, json.dumps({"run_id": "made-up"}).encode())
    store.create(layout.CARRIED, to_arrow(CARRIED.empty_table()))
    store.create(layout.accepted_results(0), to_parquet(table))
    return str(tmp_path / "run")


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "arrow"])
def test_carried_columns_are_columns_like_all_others(root: str, tmp_path: Path, form: FileFormat) -> None:
    assert result_rows(root).columns == (*ANSWERED_RESULTS.names, "customer", "at")
    path = tmp_path / f"rows.{form}"
    assert write_file(result_rows(root, ["at", "customer"]), path, form) == 1
    if form == "parquet":
        assert pq.read_table(path).schema.types == [NANOSECONDS, pa.int64()]
    elif form != "arrow":
        assert "1970-01-01 00:00:00.000000001Z" in path.read_text()


def test_a_column_that_is_neither_is_told_with_the_carried_ones(root: str) -> None:
    with pytest.raises(JobError, match=r"did you mean 'customer'\?.*, at"):
        result_rows(root, ["custumer"])
