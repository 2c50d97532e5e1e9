"""Columns that are carried: of which type each is, what does not fit it, and that every route's row has them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cascade.decisions import Decisions
from pipelines.documents.carried import Carrier, carried_schema
from pipelines.documents.code.cutting.pieces import WHOLE_DOCUMENTS, cut_into_pieces
from pipelines.documents.planning import PlanLimits, plan_shards
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import Document, RowColumns
from pipelines.documents.sources.sources import list_sources
from pipelines.escalation.ledger import Standing
from pipelines.results import answer_rows, empty_results, shard_rows
from pipelines.scored_parts import items_of_plan, scored_part
from pipelines.store.schemas import CARRIED, RESULTS, from_arrow, to_arrow
from tests.test_results import FACTS, LATER, NOW, predictions

LIMITS = PlanLimits(document_tokens=50, shard_tokens=1000)
NANOSECONDS = pa.timestamp("ns", tz="UTC")


def tokenize(texts: list[str]) -> list[list[int]]:
    return [[1] for _ in texts]


def planned(folder: Path, names: list[str]) -> tuple[pa.Schema, list[dict[str, Any]], list[str | None]]:
    columns, sources = RowColumns(carried=tuple(names)), list_sources(str(folder))
    schema = carried_schema(columns, sources)
    documents = (document for source in sources for document in read_documents(source, columns, 1_000))
    (shard,) = plan_shards(documents, tokenize, LIMITS, carrier=Carrier(schema, 1_000))
    return schema, shard[CARRIED].to_pylist(), shard["note"].to_pylist()


def test_types_of_parquet_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["a", "b"],
            "short": pa.array([1, None], pa.int32()),
            "price": pa.array([Decimal("1.10"), Decimal("2.00")], pa.decimal128(10, 2)),
            "at": pa.array([1_700_000_000_000_000_001, None], NANOSECONDS),
            "day": [date(2026, 11, 27), None],
            "tags": [["x"], []],
            "kind": pa.array(["one", "two"]).dictionary_encode(),
            "raw": [b"\x00", b"\x01"],
            "share": pa.array([0.5, None], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    columns = RowColumns(carried=tuple(table.column_names[1:]))
    sources = list_sources(str(tmp_path))
    schema = carried_schema(columns, sources)
    documents = read_documents(sources[0], columns, 1_000)
    (shard,) = plan_shards(documents, tokenize, LIMITS, carrier=Carrier(schema, 1_000))
    carried = pa.table(shard[CARRIED].combine_chunks().flatten(), schema=schema)
    expected = table.drop_columns(["text"]).set_column(5, "kind", table["kind"].cast(pa.string()))
    assert carried.equals(expected.cast(schema)) and schema.equals(expected.schema)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([True, False], pa.bool_()),
        (["a", 1], pa.string()),
        ([2**70, 1], pa.string()),
        ([{"a": 1}, [2]], pa.string()),
        ([None], pa.string()),
    ],
)
def test_types_of_json_are_those_of_the_first_rows(tmp_path: Path, values: list[Any], kind: pa.DataType) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": "t", "n": value}) + "\n" for value in values))
    schema, carried, notes = planned(tmp_path, ["n"])
    assert schema.field("n").type == kind and set(notes) == {None}
    spelled = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    assert [row["n"] for row in carried] == (spelled if kind == pa.string() else values)


def test_files_that_disagree_meet_in_the_wider_number_or_in_text(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": ["a"], "n": pa.array([1], pa.int32()), "at": [date(2026, 1, 2)]}), tmp_path / "a.parquet"
    )
    (tmp_path / "b.jsonl").write_text('{"text": "b", "n": 2, "at": "soon"}\n{"text": "c", "n": 2.5}\n')
    (tmp_path / "c.txt").write_text("a whole file has no columns")
    schema, carried, notes = planned(tmp_path, ["n", "at"])
    assert schema == pa.schema({"n": pa.float64(), "at": pa.string()})
    assert carried == [
        {"n": 1.0, "at": "2026-01-02"},
        {"n": 2.0, "at": "soon"},
        {"n": 2.5, "at": None},
        {"n": None, "at": None},
    ]
    assert set(notes) == {None}


@pytest.mark.parametrize(
    ("first", "later", "told"),
    [
        (1, "n/a", "is text, not a whole number as in the first rows,"),
        (1, 2**64, "is a number, not a whole number as in the first rows,"),
        (1.5, "n/a", "is text, not a number as in the first rows,"),
        (True, 1, "is a number, not true or false as in the first rows,"),
        ("a", "\ud800", "holds half of a surrogate pair"),
    ],
)
def test_a_later_value_that_does_not_fit_is_left_out_and_told(
    tmp_path: Path, first: Any, later: Any, told: str
) -> None:
    values = [first] * 200 + [later]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": "t", "n": value}) + "\n" for value in values))
    _, carried, notes = planned(tmp_path, ["n"])
    assert carried[0]["n"] == first and carried[-1]["n"] is None
    assert notes[0] is None and notes[-1] == f"carry: 'n' {told} and is left out"


def test_a_value_over_the_limit_of_a_document_is_left_out_and_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "n": ["x" * 1001, "y"]}), tmp_path / "a.parquet")
    _, carried, (told, other) = planned(tmp_path, ["n"])
    assert carried == [{"n": None}, {"n": "y"}] and other is None
    assert told == "carry: 'n' is over limits.max_document_bytes (1000) and is left out"


def test_a_repeated_id_fails_and_keeps_what_it_carries() -> None:
    carrier = Carrier(pa.schema({"n": pa.int64()}), 100)
    one = Document("d", "in/a.jsonl", 1, "text", carried={"n": 1})
    (shard,) = plan_shards([one, replace(one, document_offset=2, carried={"n": 2})], tokenize, LIMITS, carrier=carrier)
    assert [row["n"] for row in shard[CARRIED].to_pylist()] == [1, 2]
    assert [row is None for row in shard["failure"].to_pylist()] == [True, False]


def test_the_rows_of_every_route_have_what_their_document_carries() -> None:
    """accepted, failed, escalated, review and withheld: through plan, scored part, deciding and answers."""
    kind = pa.schema({"customer": pa.int64(), "at": pa.timestamp("us", tz="UTC")})
    when = datetime(2026, 11, 27, tzinfo=UTC)
    documents = [
        Document(
            f"doc-{n}",
            "in/a.jsonl",
            n,
            None if n == 1 else f"text {n}",
            failure="is empty" if n == 1 else None,
            attributes={"pii": n == 4},
            carried={"customer": n * 10, "at": pa.scalar(when, NANOSECONDS)} if n != 3 else None,
        )
        for n in range(5)
    ]
    hold = {"doc-4": "never_escalate: pii"}
    shards = plan_shards(documents, tokenize, LIMITS, lambda each: hold.get(each.document_id), Carrier(kind, 100))
    (plan,) = shards
    ids = [f"itm_{n}" for n in range(5)]
    plan = plan.set_column(0, "item_id", pa.array(ids))
    items = items_of_plan(to_arrow(plan))
    part = from_arrow(to_arrow(scored_part(items, predictions(dict.fromkeys((0, 2, 3, 4), 0.6)))))
    decided = shard_rows(FACTS, part, Decisions(np.array([True, False, False, False])), NOW)
    standing = Standing(tier=0, label="outage", reason=None, model="claude", cost_usd=Decimal(1))
    asked = answer_rows(decided.doubtful, [standing, replace(standing, label=None, reason="refused")], LATER)
    rows = pa.concat_tables([empty_results(kind), decided.settled, asked])
    assert rows.schema.names == [*RESULTS.names, "customer", "at"]
    assert dict(zip(rows["route"].to_pylist(), rows["customer"].to_pylist(), strict=True)) == {
        "accepted": 0,
        "failed": 10,
        "escalated": 20,
        "review": None,
        "withheld": 40,
    }
    assert rows["at"].null_count == 1 and rows.schema.field("at").type == kind.field("at").type


def test_the_pieces_of_a_review_keep_what_their_change_carries() -> None:
    carrier = Carrier(pa.schema({"team": pa.string()}), 100)
    document = Document("d", "in/a.jsonl", 1, "a\nb\n", carried={"team": "core"})
    (shard,) = plan_shards([document], tokenize, PlanLimits(WHOLE_DOCUMENTS, 100), carrier=carrier)
    assert cut_into_pieces(shard, tokenize, 10)[CARRIED].to_pylist() == [{"team": "core"}]
