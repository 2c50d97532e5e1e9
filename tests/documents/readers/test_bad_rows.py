"""Rows that cannot be read: the exact message, and that a bad row costs itself only."""

import pyarrow as pa
import pytest

from tests.documents.readers.reading import GOOD, LIMIT, Read, outcomes, parquet_bytes


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "half a', "not valid JSON (cut off at column 16?); mend or remove the line"),
        (b'{"text": "x",', "not valid JSON (cut off at column 13?); mend or remove the line"),
        (b'{"text" "x"}', "not valid JSON (at column 9); mend or remove the line"),
        (b"[1, 2]", "JSON line is not an object; write one object per line"),
        (b'"text"', "JSON line is not an object; write one object per line"),
        (b"[" * 900, "not valid JSON (cut off at column 900?); mend or remove the line"),
        (b'{"body": "x"}', "no field 'text'; add it, or name the right one in columns.text"),
        (b'{"text": null}', "'text' is null; fill it in or remove the row"),
        (b'{"text": 3}', "'text' is a number, not a string; quote it or remove the row"),
        (b'{"text": ["x"]}', "'text' is a list, not a string; quote it or remove the row"),
        (b'{"text": " \\n\\t"}', "'text' is blank; fill it in or remove the row"),
        (b'{"text": "\\ud83d"}', r"holds half of a surrogate pair (\ud800 to \udfff); mend or remove the row"),
        (
            b'{"text": "x", "id": "\\ud83d"}',
            r"holds half of a surrogate pair (\ud800 to \udfff); mend or remove the row",
        ),
        (b'{"text": "\xef\xee\xf7\xf2\xe0 \xe7\xe0"}', "not UTF-8 at byte 10 of the line; convert it to UTF-8"),
        (b'{"text": NaN}', "'text' is null; fill it in or remove the row"),
        (b'{"text": "x", "text": "y"}', "the row has 'text' more than once; rename all but one"),
        (b'{"text": "x", "id": 1, "id": 2}', "the row has 'id' more than once; rename all but one"),
        (
            b'{"text": "' + b"x" * LIMIT + b'"}',
            "line is 1012 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        ),
    ],
)
def test_a_bad_jsonl_line_costs_itself_only(read: Read, line: bytes, problem: str) -> None:
    documents = read("t.jsonl", GOOD.encode() + line + b"\n" + GOOD.encode())
    assert outcomes(documents) == ["good", f"t.jsonl:2: {problem}", "good"]
    assert (documents[1].document_id, documents[1].document_offset) == ("t.jsonl:2", 2)


def test_json_bombs_are_failed_rows(read: Read) -> None:
    nested = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}"
    digits = '{"text": "x", "n": ' + "9" * 5000 + "}"
    assert outcomes(read("t.jsonl", f"{nested}\n{digits}\n{GOOD}", limit=1_000_000)) == [
        "t.jsonl:1: JSON is nested too deeply; mend or remove the line",
        "t.jsonl:2: not usable JSON (a number of thousands of digits); mend or remove the line",
        "good",
    ]


def test_a_failed_row_keeps_its_own_id(read: Read) -> None:
    assert read("t.jsonl", '{"text": null, "id": "a"}')[0].document_id == "a"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1", "row has 1 fields where the header has 2; quote fields that hold delimiters, or mend the row"),
        ("1,a,b", "row has 3 fields where the header has 2; quote fields that hold delimiters, or mend the row"),
        ("1,", "'text' is blank; fill it in or remove the row"),
        ('1,"a"b"', "not valid CSV (stray quote or carriage return); mend or remove the row"),
        ("1,a\rb", "not valid CSV (stray quote or carriage return); mend or remove the row"),
        (b"1,\xef\xee\xf7\xf2\xe0", "not UTF-8 at byte 2 of the line; convert it to UTF-8"),
        (b'1,"a\n\xef\xee\xf7\xf2\xe0"', "line 4: not UTF-8 at byte 0 of the line; convert it to UTF-8"),
        (
            "1," + "x" * LIMIT,
            "line is 1002 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        ),
        (
            '1,"' + "a, b\n" * 300 + '"',
            "row (up to line 303) is more than 1000 bytes (limits.max_document_bytes is 1000); "
            "split it or raise the limit",
        ),
        (
            '1,"a\n' + 'y""' * LIMIT + '\nb\n"',
            "row (up to line 6) is more than 1000 bytes (limits.max_document_bytes is 1000); "
            "split it or raise the limit",
        ),
    ],
)
def test_a_bad_csv_row_costs_itself_only(read: Read, row: str | bytes, problem: str) -> None:
    stored = row if isinstance(row, bytes) else row.encode()
    documents = read("t.csv", b"id,text\n0,good\n" + stored + b"\n2,good\n")
    assert outcomes(documents) == ["good", f"t.csv:3: {problem}", "good"]


def test_a_quote_that_is_never_closed_is_named(read: Read) -> None:
    never = "quoted field is never closed; close it with a double quote"
    assert outcomes(read("t.csv", 'text\ngood\n"open\nx\n')) == ["good", f"t.csv:3: {never}"]
    assert outcomes(read("t.csv", 'text\ngood\n"open\n' + "x\n" * LIMIT)) == ["good", f"t.csv:3: {never}"]


def test_parquet_rows_fail_one_by_one(read: Read) -> None:
    texts = pa.array([b"good", b"\xef\xee\xf7\xf2\xe0", None, b"x" * 1001, b"good"], pa.binary())
    table = pa.table({"text": texts.cast(pa.string(), safe=False)})
    assert outcomes(read("t.parquet", parquet_bytes(table))) == [
        "good",
        "t.parquet:1: not UTF-8 at byte 0 of the string; convert it to UTF-8",
        "t.parquet:2: 'text' is null; fill it in or remove the row",
        "t.parquet:3: 'text' is 1001 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        "good",
    ]
