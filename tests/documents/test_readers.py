"""Reading documents: what arrives, and the exact message for everything that can be wrong."""

import gzip
import io
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.documents.file_readers import html_to_text
from pipelines.documents.readers import READERS, read_documents
from pipelines.documents.records import Columns, Document, NoValue, SourceFile
from pipelines.documents.sources import list_sources
from pipelines.errors import StoreError

LIMIT = 1000
Read = Callable[..., list[Document]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(name: str, content: bytes | str, columns: Columns = Columns(), limit: int = LIMIT) -> list[Document]:  # noqa: B008
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(read_documents(list_sources(str(path))[0], columns, limit))

    return read


def outcomes(documents: list[Document]) -> list[str | None]:
    return [document.text if document.failure is None else document.failure for document in documents]


def parquet_bytes(table: pa.Table, rows_per_group: int = 1000) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows_per_group, use_dictionary=False, compression="gzip")
    return sink.getvalue()


# --- rows that can be read -------------------------------------------------------------------------------------


def test_jsonl_gives_text_id_gold_and_place(read: Read, tmp_path: Path) -> None:
    content = '{"text": "one", "id": "a", "label": "x"}\r\n\n  \n{"text": "two\\n2", "id": 7}\n{"text": "three"}'
    uri = str(tmp_path / "t.jsonl")
    assert read("t.jsonl", content, Columns(gold="label")) == [
        Document("a", uri, 1, "one", "x"),
        Document("7", uri, 4, "two\n2"),
        Document("t.jsonl:5", uri, 5, "three"),
    ]


def test_csv_gives_text_id_gold_and_the_line_on_which_the_row_starts(read: Read, tmp_path: Path) -> None:
    content = '\ufeffid,body,label\r\na,"one, ""1""\r\nmore",x\r\n\r\n,two,\r\n'
    uri = str(tmp_path / "t.csv")
    assert read("t.csv", content, Columns(text="body", gold="label")) == [
        Document("a", uri, 2, 'one, "1"\nmore', "x"),
        Document("t.csv:5", uri, 5, "two"),
    ]


def test_tsv_is_split_at_tabs(read: Read) -> None:
    assert outcomes(read("t.tsv", "id\ttext\n1\ta, b\n")) == ["a, b"]


def test_a_nul_byte_is_text_like_any_other(read: Read) -> None:
    assert outcomes(read("t.csv", "text\na\0b\n")) == outcomes(read("t.jsonl", '{"text": "a\\u0000b"}')) == ["a\0b"]


def test_of_two_columns_with_one_name_the_first_counts(read: Read) -> None:
    assert outcomes(read("t.csv", "text,text\na,b\n")) == ["a"]


@pytest.mark.parametrize("text_type", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_gives_text_id_gold_and_row(read: Read, tmp_path: Path, text_type: pa.DataType) -> None:
    table = pa.table(
        {"text": pa.array(["one", "two"], text_type), "id": [1, None], "gold": ["x", None], "z": [[1], []]}
    )
    uri = str(tmp_path / "t.parquet")
    assert read("t.parquet", parquet_bytes(table), Columns(gold="gold")) == [
        Document("1", uri, 0, "one", "x"),
        Document("t.parquet:1", uri, 1, "two"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(12, "12"), (1.5, "1.5"), (True, "true"), ("", None), (None, None), ([1], None), ({"a": 1}, None)],
)
def test_ids_and_labels_may_be_numbers(read: Read, value: object, expected: str | None) -> None:
    (document,) = read("t.jsonl", json.dumps({"text": "x", "id": value, "gold": value}), Columns(gold="gold"))
    assert (document.document_id, document.gold_label) == (expected or "t.jsonl:1", expected)


def test_parquet_ids_may_be_decimals_and_are_absent_when_dates(read: Read) -> None:
    table = pa.table({"text": ["x"], "id": [Decimal("1.50")], "gold": [datetime(2024, 1, 1)]})  # noqa: DTZ001
    (document,) = read("t.parquet", parquet_bytes(table), Columns(gold="gold"))
    assert (document.document_id, document.gold_label) == ("1.50", None)


# --- columns that are carried along ----------------------------------------------------------------------------

CARRIED = Columns(attributes=frozenset({"pii", "country"}))


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
    columns = Columns(gold="gold", attributes=frozenset({name}))
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
    day = datetime(2024, 1, 1)  # noqa: DTZ001
    table = pa.table({"text": ["a"], "pii": [[True]], "country": pa.array([day], pa.date32())})
    (document,) = read("t.parquet", parquet_bytes(table), CARRIED)
    assert document.attributes == {"pii": NoValue("is of type list"), "country": NoValue("is of type date32[day]")}


def test_of_a_column_that_is_there_more_than_once_no_value_speaks(read: Read) -> None:
    twice = {"pii": NoValue("is there more than once")}
    columns = Columns(attributes=frozenset({"pii"}))
    content = (
        '{"text": "a", "pii": true, "p\\u0069i": false}\n{"text": "b", "pii": false}\n'
        '{"text": "c", "pii": false, "meta": {"pii": 1, "pii": 2}}\n{"text": "x", "text": "d", "pii": false}'
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

    def spy(self: pq.ParquetFile, *, batch_size: int, columns: list[str]) -> object:
        asked.append(columns)
        return iter_batches(self, batch_size=batch_size, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    table = pa.table({"text": ["a"], "pii": [True], "country": [[1]], "z": [1]})
    read("t.parquet", parquet_bytes(table), CARRIED)
    read("t.parquet", parquet_bytes(table))
    assert asked == [["pii", "text"], ["text"]]


# --- files that are one document -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.txt", "t.md", "T.TXT"])
def test_text_files_are_taken_as_they_are(read: Read, tmp_path: Path, name: str) -> None:
    assert read(name, "\ufeff# Héllo\r\n\r\n  x\n") == [Document(name, str(tmp_path / name), 0, "# Héllo\n\n  x\n")]


def test_html_is_what_a_reader_of_the_page_sees(read: Read) -> None:
    page = """<!doctype html><html><head><title>The  title</title><style>p {color: red}</style>
    <script>alert("x<y")</script></head><body><h1>Head</h1><!-- note --><p>One <b>bold</b>
    word&nbsp;&amp; more<br>next</p>tail<ul><li>a<li>b</ul><template><p>no</p></template>
    <table><tr><td>1</td><td>2</td></tr></table></body></html>"""
    expected = "The title\nHead\nOne bold word & more\nnext\ntail\na\nb\n1\n2"
    assert outcomes(read("t.html", page)) == outcomes(read("t.htm", page)) == [expected]


def test_html_without_closed_head_keeps_its_body() -> None:
    assert html_to_text("<head><title>T</title><p>hello") == "T\nhello"


@pytest.mark.parametrize("text", ["/etc/passwd", "https://example.com/a", "<?xml version='1.0'?><a>b</a>"])
def test_html_that_looks_like_something_else_gives_no_warning(text: str) -> None:
    assert html_to_text(text)


def test_deeply_nested_and_very_flat_pages_take_linear_time() -> None:
    assert html_to_text("<div>" * 20_000 + "x") == "x"
    assert html_to_text("<b>x<br>" * 20_000).count("\n") == 19_999


def test_a_page_of_tags_that_never_end_is_text() -> None:
    assert html_to_text("<p>one</p>" + "<a " * 50_000).split() == ["one", *["<a"] * 50_000]


def mail(*parts: str, subject: str = "Subject: Caf=?utf-8?q?=C3=A9?=\n") -> str:
    head = f"From: a@example.com\n{subject}MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n"
    return head + "".join(f"--B\n{part}\n" for part in parts) + "--B--\n"


def test_mail_is_its_subject_and_plain_body(read: Read) -> None:
    content = mail(
        "Content-Type: text/html\n\n<p>html</p>",
        "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nna=EFve",
        "Content-Type: text/plain\nContent-Disposition: attachment\n\nattached",
        subject="Subject: =?utf-8?q?Caf=C3=A9?=\n  folded\n",
    )
    assert outcomes(read("t.eml", content)) == ["Subject: Café folded\n\nnaïve"]


def test_mail_falls_back_to_html(read: Read) -> None:
    content = "Subject: s\nContent-Type: text/html\n\n<p>one<p>two"
    assert outcomes(read("t.eml", content)) == ["Subject: s\n\none\ntwo"]


def test_mail_without_charset_is_read_as_utf8_and_without_subject_as_body(read: Read) -> None:
    assert outcomes(read("t.eml", "From: a@example.com\r\n\r\nGrüße\r\nA\r\n")) == ["Grüße\nA"]


# --- what can be wrong, line by line ---------------------------------------------------------------------------

GOOD = '{"text": "good"}\n'


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
        (b'{"text": "caf\xe9"}', "not UTF-8 at byte 13 of the line; convert it to UTF-8"),
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
        (b"1,caf\xe9", "not UTF-8 at byte 5 of the line; convert it to UTF-8"),
        (b'1,"a\ncaf\xe9"', "line 4: not UTF-8 at byte 3 of the line; convert it to UTF-8"),
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


# --- what can be wrong with a file as a whole --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        *[(f"t{suffix}", b"", "is empty; send it again or remove it") for suffix in READERS],
        ("t.jsonl", b"\n \n", "is empty; send it again or remove it"),
        ("t.jsonl.gz", b"", "is empty; send it again or remove it"),
        ("t.txt.gz", gzip.compress(b""), "is empty; send it again or remove it"),
        ("t.csv", b"id,text\n", "is empty; send it again or remove it"),
        (
            "t.parquet",
            parquet_bytes(pa.table({"text": pa.array([], pa.string())})),
            "is empty; send it again or remove it",
        ),
        ("t.txt", b" \n", "holds no text; send it again or remove it"),
        ("t.html", b"<p> <script>x</script>", "holds no text; send it again or remove it"),
        ("t.html", b"<![x<![x>", "HTML is too broken to read; mend it or send it as .txt"),
        ("t.txt", b"caf\xe9", "not UTF-8 at byte 3 of the file; convert it to UTF-8"),
        ("t.md", "x".encode("utf-16"), "not UTF-8 at byte 0 of the file (UTF-16?); convert it to UTF-8"),
        ("t.html", b"<p>\xff", "not UTF-8 at byte 3 of the file; convert it to UTF-8"),
        (
            "t.txt",
            b"x" * (LIMIT + 1),
            "document is 1001 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        ),
        (
            "t.txt.gz",
            gzip.compress(b"x" * 100_000),
            "document is more than 1000 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        ),
        ("t.txt.gz", gzip.compress(b"x")[:-4], "compressed data is cut off or damaged; send the file again"),
        ("t.txt.zst", b"no zstd", "compressed data is cut off or damaged; send the file again"),
        ("t.csv", b"id,body\n1,x\n", "no column 'text' (there are 'id', 'body'); name the right one in columns.text"),
        (
            "t.csv",
            ",".join(f"column {index}" * 9 for index in range(12)).encode(),
            "no column 'text' (there are "
            + ", ".join(repr((f"column {index}" * 9)[:40]) for index in range(10))
            + " and 2 more); name the right one in columns.text",
        ),
        (
            "t.parquet",
            parquet_bytes(pa.table({"body": ["x"]})),
            "no column 'text' (there are 'body'); name the right one in columns.text",
        ),
        (
            "t.parquet",
            parquet_bytes(pa.table({"text": [1]})),
            "column 'text' is int64, not string; cast it, or name another in columns.text",
        ),
        (
            "t.parquet",
            parquet_bytes(pa.table({"text": [b"x"]})),
            "column 'text' is binary, not string; cast it, or name another in columns.text",
        ),
        ("t.parquet", b"text", "not a Parquet file; rename it or write it again"),
        (
            "t.parquet",
            parquet_bytes(pa.table({"text": ["x"]}))[:-5],
            "Parquet file is cut off or damaged; write it again",
        ),
        (
            "t.parquet.gz",
            gzip.compress(parquet_bytes(pa.table({"text": ["x"]}))),
            "Parquet inside .gz or .zst cannot be read; decompress it (Parquet compresses by itself)",
        ),
        ("t.eml", b"Subject: s\n\n", "mail has no text body; export it again or remove it"),
        (
            "t.eml",
            b"Content-Type: image/png\n\nx",
            "mail has no text body; export it again or remove it",
        ),
        (
            "t.eml",
            b"Content-Type: text/plain; charset=klingon\n\nx",
            "mail body has the unknown charset 'klingon'; export it as UTF-8",
        ),
        ("t.eml", b"Subject: s\n\ncaf\xe9", "mail body is not 'utf-8' at byte 3; export it as UTF-8"),
        (
            "t.pdf",
            b"%PDF",
            "unsupported file type '.pdf'; supported: .jsonl, .ndjson, .csv, .tsv, .parquet, .txt, .md, .html, .htm, "
            ".eml (.gz, .zst)",
        ),
    ],
)
def test_a_bad_file_is_one_failed_document(read: Read, tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    assert read(name, content) == [Document(name, str(tmp_path / name), 0, None, None, f"{name}: {problem}")]


def test_a_bad_csv_header_is_one_failed_document(read: Read) -> None:
    assert outcomes(read("t.csv", b"t\xe9xt\nx\n")) == [
        "t.csv:1: header: not UTF-8 at byte 1 of the line; convert it to UTF-8"
    ]


@pytest.mark.parametrize(("name", "reached"), [("t.jsonl.gz", 3), ("t.csv.gz", 3)])
def test_rows_before_the_cut_of_a_truncated_gzip_are_delivered(read: Read, name: str, reached: int) -> None:
    rows = b"text\ngood\n" if name.startswith("t.csv") else GOOD.encode() * 2
    whole = gzip.compress(rows, mtime=0)
    documents = read(name, whole[:-6])
    assert outcomes(documents)[-2:] == [
        "good",
        f"{name}:{reached}: compressed data is cut off or damaged from here on; send the file again",
    ]


def test_rows_before_the_cut_of_a_large_truncated_zstd_are_delivered(read: Read) -> None:
    rows = b"".join(b'{"text": "row %d %d"}\n' % (index, index * 7919 % 104729) for index in range(50_000))
    documents = read("t.jsonl.zst", pa.compress(rows, "zstd", asbytes=True)[:-100_000])
    last = documents[-1]
    assert [document.failure for document in documents[:-1]] == [None] * (len(documents) - 1)
    assert last.document_offset == len(documents) > 10_000
    assert last.failure is not None and last.failure.endswith("cut off or damaged from here on; send the file again")


def test_rows_before_the_damage_in_a_parquet_file_are_delivered(read: Read) -> None:
    table = pa.table({"text": [f"row {index}" for index in range(300)]})
    stored = bytearray(parquet_bytes(table, rows_per_group=100))
    offset = pq.ParquetFile(pa.BufferReader(bytes(stored))).metadata.row_group(2).column(0).data_page_offset
    stored[offset : offset + 60] = b"\xff" * 60
    documents = read("t.parquet", bytes(stored))
    assert len(documents) == documents[-1].document_offset + 1 > 100
    assert documents[-1].failure == (
        f"t.parquet:{documents[-1].document_offset}: Parquet data is damaged from this row on; write the file again"
    )


def test_parquet_rows_fail_one_by_one(read: Read) -> None:
    texts = pa.array([b"good", b"caf\xe9", None, b"x" * 1001, b"good"], pa.binary())
    table = pa.table({"text": texts.cast(pa.string(), safe=False)})
    assert outcomes(read("t.parquet", parquet_bytes(table))) == [
        "good",
        "t.parquet:1: not UTF-8 at byte 3 of a string; convert it to UTF-8",
        "t.parquet:2: 'text' is null; fill it in or remove the row",
        "t.parquet:3: 'text' is 1001 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        "good",
    ]


def test_a_source_that_is_gone_is_one_failed_document(tmp_path: Path) -> None:
    for suffix in READERS:
        gone = SourceFile(str(tmp_path / f"t{suffix}"), f"t{suffix}", 1, "1-1")
        assert outcomes(list(read_documents(gone, Columns(), LIMIT))) == [
            f"t{suffix}: gone since it was listed; put it back or start a new run"
        ]


def test_a_store_that_fails_stops_the_run_and_is_no_documents_fault(tmp_path: Path) -> None:
    folder = SourceFile(str(tmp_path), "t.txt", 1, "1-1")  # opening a folder fails as a lost connection would
    with pytest.raises(StoreError, match="what is committed is kept, resume the run"):
        list(read_documents(folder, Columns(), LIMIT))


# --- any bytes, any size -----------------------------------------------------------------------------------------

_FRAGMENTS = (
    *(b'{"text": "x"}', b'"', b",", b"\n", b"\r", b"\0", b"text", b"\xff", b"\xef\xbb\xbf"),
    *(b"<p>", b"<![", b"<!--", b"&#xD800;", b"PAR1", b"\x1f\x8b\x08"),
    *(b"Subject: =?utf-8?q?=ff?=\n", b"Content-Type: ", b"multipart/mixed; boundary=", b"text/plain; charset=", b"--"),
    *(b"Content-Transfer-Encoding: base64\n", b"Content-Disposition: ", b"utf-7", b"idna", b";*0*="),
)
ANY_BYTES = st.binary(max_size=200) | st.lists(st.sampled_from(_FRAGMENTS) | st.binary(max_size=4), max_size=20).map(
    b"".join
)


@pytest.mark.parametrize("packing", ["", ".gz", ".zst", "broken .gz"])
@pytest.mark.parametrize("suffix", READERS)
@settings(max_examples=60, deadline=None)
@given(content=ANY_BYTES)
@example(content=b"")
def test_any_bytes_give_documents_and_never_an_error(suffix: str, packing: str, content: bytes) -> None:
    packed = {".gz": gzip.compress, ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}{packing.removeprefix('broken ')}"
        path.write_bytes(packed.get(packing, bytes)(content))
        documents = list(read_documents(list_sources(str(path))[0], Columns(gold="gold"), 100))
    assert documents
    for document in documents:
        assert (document.text is None) != (document.failure is None)
        assert document.failure is None or document.failure.startswith(path.name)
        for value in (document.text, document.failure, document.document_id):
            (value or "").encode()  # an Arrow string column must be able to hold it


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 2000), garbage=st.binary(min_size=1, max_size=30))
def test_a_damaged_parquet_file_never_raises(position: int, garbage: bytes) -> None:
    stored = bytearray(parquet_bytes(pa.table({"text": [f"row {index}" for index in range(200)], "id": range(200)})))
    position %= len(stored)
    stored[position : position + len(garbage)] = garbage
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        path.write_bytes(stored)
        assert list(read_documents(list_sources(str(path))[0], Columns(), LIMIT))


@pytest.mark.parametrize(("name", "head"), [("t.jsonl", b'{"text": "'), ("t.csv", b'text\n"'), ("t.txt", b"")])
def test_a_huge_line_is_skipped_in_little_memory(tmp_path: Path, name: str, head: bytes) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(head)
        file.seek(200 * 1024 * 1024)
        file.write(b"\n")
    (source,) = list_sources(str(path))
    tracemalloc.start()
    try:
        (document,) = read_documents(source, Columns(), 100_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert document.failure is not None
    assert peak_bytes < 2_000_000
