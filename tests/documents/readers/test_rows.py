"""Files of rows: text, id, gold label and place of every row."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.documents.records import Document, RowColumns
from tests.documents.readers.reading import Read, outcomes, parquet_bytes


def test_jsonl_gives_text_id_gold_and_place(read: Read, tmp_path: Path) -> None:
    content = '{"text": "one", "id": "a", "label": "x"}\r\n\n  \n{"text": "two\\n2", "id": 7}\n{"text": "three"}'
    uri = str(tmp_path / "t.jsonl")
    assert read("t.jsonl", content, RowColumns(gold="label")) == [
        Document("a", uri, 1, "one", "x"),
        Document("7", uri, 4, "two\n2"),
        Document("t.jsonl:5", uri, 5, "three"),
    ]


def test_csv_gives_text_id_gold_and_the_line_on_which_the_row_starts(read: Read, tmp_path: Path) -> None:
    content = '\ufeffid,body,label\r\na,"one, ""1""\r\nmore",x\r\n\r\n,two,\r\n'
    uri = str(tmp_path / "t.csv")
    assert read("t.csv", content, RowColumns(text="body", gold="label")) == [
        Document("a", uri, 2, 'one, "1"\nmore', "x"),
        Document("t.csv:5", uri, 5, "two"),
    ]


def test_tsv_is_split_at_tabs(read: Read) -> None:
    assert outcomes(read("t.tsv", "id\ttext\n1\ta, b\n")) == ["a, b"]


def test_a_nul_byte_is_text_like_any_other(read: Read) -> None:
    assert outcomes(read("t.csv", "text\na\0b\n")) == outcomes(read("t.jsonl", '{"text": "a\\u0000b"}')) == ["a\0b"]


@pytest.mark.parametrize("name", ["text", "id", "gold"])
def test_two_columns_of_a_name_that_is_needed_are_refused(read: Read, name: str) -> None:
    columns = RowColumns(gold="gold")
    table = pa.Table.from_arrays([pa.array(["a"])] * 4, ["text", "id", "gold", name])
    for file, content in [("t.csv", f"text,id,gold,{name}\na,b,c,d\n"), ("t.parquet", parquet_bytes(table))]:
        reason = f"{file}: the table has {name!r} more than once; rename all but one"
        assert outcomes(read(file, content, columns)) == [reason]


def test_two_columns_of_another_name_do_not_matter(read: Read) -> None:
    assert outcomes(read("t.csv", "text,x,x\na,b,c\n")) == ["a"]
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, ["text", "x", "x"])
    assert outcomes(read("t.parquet", parquet_bytes(table))) == ["a"]


@pytest.mark.parametrize("text_type", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_gives_text_id_gold_and_row(read: Read, tmp_path: Path, text_type: pa.DataType) -> None:
    table = pa.table(
        {"text": pa.array(["one", "two"], text_type), "id": [1, None], "gold": ["x", None], "z": [[1], []]}
    )
    uri = str(tmp_path / "t.parquet")
    assert read("t.parquet", parquet_bytes(table), RowColumns(gold="gold")) == [
        Document("1", uri, 0, "one", "x"),
        Document("t.parquet:1", uri, 1, "two"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(12, "12"), (1.5, "1.5"), (True, "true"), ("", None), (None, None), ([1], None), ({"a": 1}, None)],
)
def test_ids_and_labels_may_be_numbers(read: Read, value: object, expected: str | None) -> None:
    (document,) = read("t.jsonl", json.dumps({"text": "x", "id": value, "gold": value}), RowColumns(gold="gold"))
    assert (document.document_id, document.gold_label) == (expected or "t.jsonl:1", expected)


def test_parquet_ids_may_be_decimals_and_are_absent_when_dates(read: Read) -> None:
    table = pa.table({"text": ["x"], "id": [Decimal("1.50")], "gold": [datetime(2024, 1, 1)]})  # noqa: DTZ001  # as files have it
    (document,) = read("t.parquet", parquet_bytes(table), RowColumns(gold="gold"))
    assert (document.document_id, document.gold_label) == ("1.50", None)
