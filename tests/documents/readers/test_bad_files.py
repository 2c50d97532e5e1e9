"""Files that cannot be read, as a whole or from some place on: the exact message."""

import errno
import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.documents.readers.readers import READERS, read_documents
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.errors import StoreError
from tests.documents.readers.reading import GOOD, LIMIT, Read, outcomes, parquet_bytes

WHOLE = (".parquet", ".txt", ".md", ".html", ".htm", ".eml")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        *[(f"t{suffix}", b"", "is empty; send it again or remove it") for suffix in WHOLE],
        ("t.txt.gz", gzip.compress(b"", mtime=0), "is empty; send it again or remove it"),
        ("t.txt", b" \n", "holds no text; send it again or remove it"),
        ("t.html", b"<p> <script>x</script>", "holds no text; send it again or remove it"),
        ("t.html", b"<![x<![x>", "HTML is too broken to read; mend it or send it as .txt"),
        ("t.txt", b"\xef\xee\xf7\xf2\xe0", "not UTF-8 at byte 0 of the file; convert it to UTF-8"),
        ("t.html", "<p>请更正发票".encode("gbk"), "not UTF-8 at byte 3 of the file; convert it to UTF-8"),
        (
            "t.txt",
            b"x" * (LIMIT + 1),
            "document is 1001 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        ),
        (
            "t.txt.gz",
            gzip.compress(b"x" * 100_000, mtime=0),
            "document is more than 1000 bytes (limits.max_document_bytes is 1000); split it or raise the limit",
        ),
        ("t.txt.gz", gzip.compress(b"x", mtime=0)[:-4], "compressed data is cut off or damaged; send the file again"),
        ("t.txt.zst", b"\x28\xb5\x2f\xfdno zstd", "compressed data is cut off or damaged; send the file again"),
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
            gzip.compress(parquet_bytes(pa.table({"text": ["x"]})), mtime=0),
            "Parquet inside gzip or zstd cannot be read; decompress it (Parquet compresses by itself)",
        ),
        ("t.eml", b"Subject: s\n\n", "mail has no text body; export it again or remove it"),
        (
            "t.eml",
            b"Content-Type: image/png\n\nx",
            "mail has no text body; export it again or remove it",
        ),
        (
            "t.eml",
            b"Content-Type: text/plain; charset=utf-8\n\n\xef\xee\xf7\xf2\xe0",
            "not UTF-8 at byte 0 of the mail body; convert it to UTF-8",
        ),
        (
            "t.pdf",
            b"%PDF",
            "unsupported file type '.pdf'; supported: .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt, .md, .html, "
            ".htm, .eml (.gz, .gzip, .zst, .zstd)",
        ),
    ],
)
def test_a_bad_file_is_one_failed_document(read: Read, tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    assert read(name, content) == [Document(name, str(tmp_path / name), 0, None, None, f"{name}: {problem}")]


def test_a_bad_csv_header_is_one_failed_document(read: Read) -> None:
    assert outcomes(read("t.csv", "текст\nx\n".encode("cp1251"))) == [
        "t.csv:1: header: not UTF-8 at byte 0 of the line; convert it to UTF-8"
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


def test_a_source_that_is_gone_is_one_failed_document(tmp_path: Path) -> None:
    for suffix in READERS:
        gone = SourceFile(str(tmp_path / f"t{suffix}"), f"t{suffix}", 1, "1-1")
        assert outcomes(list(read_documents(gone, RowColumns(), LIMIT))) == [
            f"t{suffix}: gone since it was listed; put it back or start a new run"
        ]


def test_a_store_that_fails_stops_the_run_and_is_no_documents_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StoreError, match="what is committed is kept, resume the run"):
        list(read_documents(SourceFile(f"{tmp_path}/t.txt", "t.txt", 1, "1-1"), RowColumns(), LIMIT))
