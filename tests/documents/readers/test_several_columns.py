"""A text out of several columns, an id out of several, and what is carried: the same from every format of rows."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from pipelines.documents.records import NoValue, RowColumns
from pipelines.documents.text_columns import text_columns
from tests.documents.readers.reading import Read, outcomes, parquet_bytes

ROW = {"id": 7, "region": "eu", "subject": "Invoice", "body": "Charged twice.", "n": 3}
SEVERAL = text_columns(["subject", "body"])


def stored(form: str, *rows: dict[str, Any]) -> bytes:
    if form == "parquet":
        return parquet_bytes(pa.Table.from_pylist(list(rows)))
    if form == "csv":
        lines = [
            ",".join(rows[0]),
            *(",".join("" if value is None else str(value) for value in row.values()) for row in rows),
        ]
        return ("\n".join(lines) + "\n").encode()
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (["subject", "body"], "Invoice\n\nCharged twice."),
        ("{subject}: {body} ({n})", "Invoice: Charged twice. (3)"),
        ("{{{subject}}}", "{Invoice}"),
        ("body", "Charged twice."),
    ],
)
def test_a_text_is_made_of_several_columns(read: Read, form: str, text: Any, expected: str) -> None:
    columns = RowColumns(text=text_columns(text), id=("region", "id"))
    (document,) = read(f"t.{form}", stored(form, ROW), columns)
    assert (document.text, document.document_id) == (expected, "eu:7")


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_blank_parts_are_left_out_and_a_row_without_any_fails(read: Read, form: str) -> None:
    rows = [ROW | {"subject": None}, ROW | {"subject": " ", "body": " "}, ROW]
    found = read(f"t.{form}", stored(form, *rows), RowColumns(text=SEVERAL))
    assert found[0].text == "Charged twice." and found[2].text == "Invoice\n\nCharged twice."
    assert found[1].failure is not None and "'subject' and 'body' are blank; fill one in" in found[1].failure


def test_an_id_of_which_a_part_is_missing_is_path_and_line(read: Read) -> None:
    content = stored("jsonl", ROW, ROW | {"region": None})
    first, second = read("t.jsonl", content, RowColumns(text="body", id=("region", "id")))
    assert (first.document_id, second.document_id) == ("eu:7", "t.jsonl:2")


def test_dates_may_be_parts_of_text_and_id(read: Read) -> None:
    table = pa.table({"day": [date(2026, 11, 27)], "body": ["down"]})
    columns = RowColumns(text=text_columns("{day}: {body}"), id=("day", "body"))
    (document,) = read("t.parquet", parquet_bytes(table), columns)
    assert (document.text, document.document_id) == ("2026-11-27: down", "2026-11-27:down")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_list_is_no_part_of_a_text(read: Read, form: str) -> None:
    (outcome,) = outcomes(read(f"t.{form}", stored(form, {"subject": ["x"], "body": "b"}), RowColumns(text=SEVERAL)))
    assert outcome is not None and "'subject' is " in outcome and "list" in outcome


def test_a_table_that_lacks_a_part_fails_with_the_columns_that_there_are(read: Read) -> None:
    for form in ("csv", "parquet"):
        (outcome,) = outcomes(read(f"t.{form}", stored(form, {"subject": "x", "text": "b"}), RowColumns(text=SEVERAL)))
        assert outcome is not None and "no column 'body' (there are 'subject', 'text')" in outcome


def test_the_size_of_a_text_of_several_columns_is_that_of_all(read: Read) -> None:
    (outcome,) = outcomes(
        read("t.parquet", stored("parquet", {"subject": "x" * 600, "body": "y" * 600}), RowColumns(text=SEVERAL))
    )
    assert outcome is not None and "'subject' and 'body' is 1202 bytes" in outcome


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("{a} {b", "a single '{' at character 5"),
        ("a} {b}", "a single '}' at character 2"),
        ("{{a}}", "names no column"),
    ],
)
def test_a_template_that_is_none_is_refused(given: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        text_columns(given)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_what_is_carried_is_there_whether_or_not_the_row_has_a_text(read: Read, form: str) -> None:
    rows = [ROW, ROW | {"body": None}]
    for document in read(f"t.{form}", stored(form, *rows), RowColumns(text="body", carried=("region", "n", "other"))):
        given = (document.carried or {}).items()
        carried = {name: value.as_py() if isinstance(value, pa.Scalar) else value for name, value in given}
        assert carried == {"region": "eu", "n": "3" if form == "csv" else 3}


def test_a_carried_column_that_is_there_twice_is_none(read: Read) -> None:
    twice = NoValue("is there more than once")
    columns = RowColumns(carried=("n",))
    for name, content in [("t.csv", "text,n,n\nx,1,2\n"), ("t.jsonl", '{"text": "x", "n": 1, "n": 2}\n')]:
        (document,) = read(name, content, columns)
        assert document.carried == {"n": twice}, name
    table = pa.table([["x"], [1], [2]], names=["text", "n", "n"])
    assert read("t.parquet", parquet_bytes(table), columns)[0].carried == {"n": twice}
