"""Whatever bytes a file holds, and however many, reading gives documents and never an error."""

import gzip
import tempfile
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.documents.readers.readers import READERS, read_documents
from pipelines.documents.records import RowColumns
from pipelines.documents.sources.sources import list_sources
from tests.documents.readers.reading import LIMIT, parquet_bytes

_FRAGMENTS = (
    *(b'{"text": "x"}', b'"', b",", b"\n", b"\r", b"\0", b"text", b"\xff", b"\xef\xbb\xbf"),
    *(b"[", b"{", b"}]", b"\\", b"\xff\xfe", b"<meta charset=", b"<p>", b"<![", b"<!--"),
    *(b"&#xD800;", b"PAR1", b"\x1f\x8b\x08", b"Content-Type: ", b"text/plain; charset=", b"utf-7", b"idna"),
    *(b"Subject: =?utf-8?q?=ff?=\n", b"multipart/mixed; boundary=", b"--", b"Content-Disposition: "),
    *(b"Content-Transfer-Encoding: base64\n", b"iso-2022-jp\n\n\x1b$B!", b"message/rfc822\n\n", b";*0*="),
)
ANY_BYTES = st.binary(max_size=200) | st.lists(st.sampled_from(_FRAGMENTS) | st.binary(max_size=4), max_size=20).map(
    b"".join
)


@pytest.mark.parametrize("suffix", READERS)
@settings(max_examples=100, deadline=None)
@given(packing=st.sampled_from(["", ".gz", ".zst", "broken .gz"]), content=ANY_BYTES)
@example(packing="", content=b"")
@example(packing="", content=b'"\n",')  # a column's name with a line break, and not the column that is asked for
def test_any_bytes_give_documents_and_never_an_error(suffix: str, packing: str, content: bytes) -> None:
    packed = {".gz": gzip.compress, ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}{packing.removeprefix('broken ')}"
        path.write_bytes(packed.get(packing, bytes)(content))
        documents = list(read_documents(list_sources(str(path))[0], RowColumns(gold="gold"), 100))
    assert documents or suffix in (".jsonl", ".ndjson", ".json", ".csv", ".tsv")  # rows may be none
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
        list(
            read_documents(list_sources(str(path))[0], RowColumns(), LIMIT)
        )  # none, where the footer now says: no rows


@pytest.mark.parametrize(
    ("name", "reason"), [("histogram.parquet", "is damaged"), ("int96.parquet", "is timestamp[ns], not string")]
)
def test_a_footer_over_which_pyarrow_ends_its_process_is_a_failed_document(name: str, reason: str) -> None:
    (document,) = read_documents(list_sources(str(Path(__file__).parent / "damaged" / name))[0], RowColumns(), LIMIT)
    assert document.text is None
    assert document.failure is not None and reason in document.failure


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
        (document,) = read_documents(source, RowColumns(), 100_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert document.failure is not None
    assert peak_bytes < 2_000_000
