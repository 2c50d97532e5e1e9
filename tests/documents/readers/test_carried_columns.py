"""Columns that are carried along with a document."""

import json
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.documents.records import NoValue, RowColumns
from tests.documents.readers.reading import Read, outcomes, parquet_bytes

CARRIED = RowColumns(attributes=frozenset({"pii", "country"}))


def test_rows_carry_the_columns_asked_for_that_they_have(read: Read) -> None:
    content = '{"text": "a", "pii": true, "country": null, "z": 1}\n{"text": "b", "country": "DE"}\n{"text": "c"}'
    assert [document.attributes for document in read("t.jsonl", content, CARRIED)] == [
        {"pii": True, "country": None},
        {"country": "DE"},
        {},
    ]
    (document,) = read("t.csv", "text,pii,country,z\na,true,,1\n", CARRIED)
    assert document.attributes == {"pii": "true", "country": ""}
    (document,) = read("t.parquet", parquet_bytes(pa.table({"text": ["a"], "pii": [False], "z": [1]})), CARRIED)
    assert document.attributes == {"pii": False}


def test_nothing_is_carried_unasked_or_where_there_is_no_row(read: Read) -> None:
    (document,) = read("t.jsonl", '{"text": "a", "pii": true}')
    assert document.attributes is None
    for name, content in [("t.txt", "a"), ("t.html", "<p>a"), ("t.eml", "\n\na"), ("t.jsonl", '{"pii": true}')]:
        (document,) = read(name, content, CARRIED)
        assert document.attributes is None


@pytest.mark.parametrize("name", ["text", "id", "gold"])
def test_the_columns_of_text_id_and_gold_can_be_carried_too(read: Read, name: str) -> None:
    columns = RowColumns(gold="gold", attributes=frozenset({name}))
    row = {"text": "a", "id": "b", "gold": "c"}
    table = pa.table({key: [value] for key, value in row.items()})
    for document in (
        *read("t.jsonl", json.dumps(row), columns),
        *read("t.csv", "text,id,gold\na,b,c\n", columns),
        *read("t.parquet", parquet_bytes(table), columns),
    ):
        assert (document.text, document.document_id, document.gold_label) == ("a", "b", "c")
        assert document.attributes == {name: row[name]}


def test_what_cannot_be_compared_is_carried_as_no_value(read: Read) -> None:
    content = '{"text": "a", "pii": [true], "country": {"code": "DE"}}'
    (document,) = read("t.jsonl", content, CARRIED)
    assert document.attributes == {"pii": NoValue("is a list"), "country": NoValue("is an object")}
    day = datetime(2024, 1, 1)  # noqa: DTZ001  # as files have it
    table = pa.table({"text": ["a"], "pii": [[True]], "country": pa.array([day], pa.date32())})
    (document,) = read("t.parquet", parquet_bytes(table), CARRIED)
    assert document.attributes == {"pii": NoValue("is of type list"), "country": NoValue("is of type date32[day]")}


def test_of_a_column_that_is_there_more_than_once_no_value_speaks(read: Read) -> None:
    twice = {"pii": NoValue("is there more than once")}
    columns = RowColumns(attributes=frozenset({"pii"}))
    content = (
        '{"text": "a", "pii": true, "p\\u0069i": false}\n{"text": "b", "pii": false}\n'
        '{"text": "c", "pii": false, "meta": {"pii": 1, "pii": 2}}\n{"text": "d", "x": 1, "x": 2, "pii": false}'
    )
    documents = read("t.jsonl", content, columns)
    assert outcomes(documents) == ["a", "b", "c", "d"]
    assert [document.attributes for document in documents] == [twice, *[{"pii": False}] * 3]
    (document,) = read("t.csv", "pii,text,pii\ntrue,a,false\n", columns)
    assert document.attributes == twice
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array([True]), pa.array([False])], ["text", "pii", "pii"])
    (document,) = read("t.parquet", parquet_bytes(table), columns)
    assert document.attributes == twice


@pytest.mark.parametrize(
    ("value", "column_type", "expected"),
    [
        (0.7, pa.float32(), 0.7),
        (0.7, pa.float16(), 0.7),
        (0.7, pa.float64(), 0.7),
        (None, pa.float32(), None),
        (Decimal("0.70"), pa.decimal128(9, 2), 0.7),
        (Decimal("12345678901234567890"), pa.decimal128(38, 0), 12345678901234567890),
        (3, pa.int8(), 3),
        ("DE", pa.dictionary(pa.int8(), pa.string()), "DE"),
    ],
)
def test_parquet_values_are_carried_as_they_were_meant(
    read: Read, value: object, column_type: pa.DataType, expected: object
) -> None:
    table = pa.table({"text": ["a"], "pii": pa.array([value], column_type)})
    (document,) = read("t.parquet", parquet_bytes(table), CARRIED)
    assert document.attributes == {"pii": expected}
    assert document.attributes is not None and type(document.attributes["pii"]) is type(expected)


def test_parquet_reads_only_the_columns_asked_for(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    iter_batches = pq.ParquetFile.iter_batches

    def spy(self: pq.ParquetFile, *, batch_size: int, columns: list[str], **more: object) -> object:
        asked.append(columns)
        return iter_batches(self, batch_size=batch_size, columns=columns, **more)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    table = pa.table({"text": ["a"], "pii": [True], "country": [[1]], "z": [1]})
    read("t.parquet", parquet_bytes(table), CARRIED)
    read("t.parquet", parquet_bytes(table))
    # Each twice: first what the footer says of them is looked at.
    assert asked == [["pii", "text"], ["pii", "text"], ["text"], ["text"]]
