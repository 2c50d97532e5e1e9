"""Tables as bytes and back, and the columns other people depend on."""

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.store.layout import ResultFormat
from pipelines.store.schemas import (
    COLLECTED,
    MONEY,
    PLAN,
    PREDICTIONS,
    RESULTS,
    from_arrow,
    read_part,
    to_arrow,
    to_parquet,
    to_part,
)

# design.md §5: stable promises.
PROMISED_COLUMNS = """
    item_id document_uri document_offset task answer findings confidence raw_prob label_mass route reason model
    model_revision input_tokens cached_tokens output_tokens gpu_seconds gpu_cost_usd api_cost_usd cost_usd
    duplicate_of run_id scored_at settled_at
"""
NOW = datetime(2026, 11, 22, 12, 0, 0, 123_456, UTC)
RESULT_ROW = {
    "item_id": "itm_1",
    "document_id": "a",
    "document_uri": "in/a.jsonl",
    "document_offset": 1,
    "task": "classification",
    "findings": [{"path": "a.py", "line": 3}],
    "route": "accepted",
    "cost_usd": Decimal("0.000000000001"),
    "run_id": "run_1",
    "settled_at": NOW,
}

PLAN_ROW = st.fixed_dictionaries(
    {
        "item_id": st.text(),
        "document_id": st.text(),
        "document_uri": st.text(),
        "document_offset": st.integers(0, 2**63 - 1),
        "text": st.none() | st.text(),
        "tokens": st.none() | st.lists(st.integers(0, 2**31 - 1)),
        "gold_label": st.none() | st.text(),
        "failure": st.none() | st.text(),
        "note": st.none() | st.text(),
    }
)


@given(st.lists(PLAN_ROW, max_size=5))
def test_a_table_survives_arrow_and_parquet(rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows, schema=PLAN)
    assert from_arrow(to_arrow(table)).equals(table, check_metadata=True)
    assert pq.read_table(pa.BufferReader(to_parquet(table))).equals(table)


@pytest.mark.parametrize("schema", [PLAN, PREDICTIONS, COLLECTED, RESULTS])
def test_an_empty_table_keeps_its_schema(schema: pa.Schema) -> None:
    table = schema.empty_table()
    assert from_arrow(to_arrow(table)).schema.equals(schema, check_metadata=True)
    assert pq.read_table(pa.BufferReader(to_parquet(table))).schema.equals(schema)


def test_only_the_columns_asked_for_are_read() -> None:
    table = pa.Table.from_pylist([{**dict.fromkeys(PLAN.names), **RESULT_ROW_AS_PLAN}], schema=PLAN)
    data = to_arrow(table)
    assert from_arrow(data, ["item_id", "note"]).to_pylist() == [{"item_id": "itm_1", "note": "cut"}]
    assert from_arrow(data, ["note", "item_id"])["item_id"].to_pylist() == ["itm_1"]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_part_of_either_form_gives_the_columns_in_the_order_asked_for(form: ResultFormat) -> None:
    part = to_part(pa.Table.from_pylist([RESULT_ROW], RESULTS).drop_columns(["dropped_findings"]), form)
    table = read_part(part, ["cost_usd", "dropped_findings", "item_id", "findings"])
    assert table.column_names == ["cost_usd", "dropped_findings", "item_id", "findings"]
    (row,) = table.to_pylist()
    assert row["dropped_findings"] is None, "an earlier version did not have it"
    assert (row["cost_usd"], row["item_id"]) == (RESULT_ROW["cost_usd"], "itm_1")
    assert row["findings"][0]["line"] == 3


RESULT_ROW_AS_PLAN = {
    "item_id": "itm_1",
    "document_id": "a",
    "document_uri": "in/a.txt",
    "document_offset": 0,
    "note": "cut",
}


def test_results_have_every_promised_column() -> None:
    assert set(PROMISED_COLUMNS.split()) <= set(RESULTS.names)
    assert len(set(RESULTS.names)) == len(RESULTS.names)
    assert pa.decimal128(20, 12) == MONEY
    for name in ("gpu_cost_usd", "api_cost_usd", "cost_usd"):
        assert RESULTS.field(name).type == MONEY
    assert {field.name for field in RESULTS if not field.nullable} == {
        *("item_id", "document_id", "document_uri", "document_offset", "task", "route", "run_id", "settled_at")
    }


def test_results_are_read_with_any_parquet_reader_and_say_their_version(tmp_path: object) -> None:
    table = pa.Table.from_pylist([RESULT_ROW], schema=RESULTS)
    path = f"{tmp_path}/part.parquet"
    with open(path, "wb") as stream:
        stream.write(to_parquet(table))
    read = ds.dataset(path)
    assert read.schema.metadata[b"sluice.schema_version"] == b"1"
    (row,) = read.to_table().to_pylist()
    assert row["cost_usd"] == Decimal("0.000000000001")
    assert row["settled_at"] == NOW
    assert row["findings"][0]["line"] == 3


def test_money_that_does_not_fit_its_column_is_refused_rather_than_rounded() -> None:
    with pytest.raises(pa.ArrowInvalid):
        pa.array([Decimal("0.0000000000001")], MONEY)
