"""Patch files and mailboxes: one document each, in bounded memory, and the exact message for what cannot be read."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.documents.code.reading.diffs import show_diff
from pipelines.documents.code.reading.patch_reader import read_patches
from pipelines.documents.records import Document, RowColumns
from pipelines.documents.sources.sources import list_sources

HASH = "0123456789abcdef0123456789abcdef01234567"
DIFF = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-one\n+ONE\n"
SIGNATURE = "-- \n2.39.5\n\n"
Read = Callable[..., list[Document]]


def message(subject: str, diff: str = DIFF, headers: str = "", body: str = "Because.\n") -> str:
    return (
        f"From {HASH} Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nDate: today\nSubject: {subject}\n{headers}\n"
        f"{body}---\n a.py | 2 +-\n\n{diff}{SIGNATURE}"
    )


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(content: bytes | str, name: str = "p.patch", limit: int = 2_000) -> list[Document]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(read_patches(list_sources(str(path))[0], RowColumns(), limit))

    return read


def test_a_diff_file_is_one_document(read: Read, tmp_path: Path) -> None:
    assert read(DIFF, "x.diff") == [Document("x.diff", str(tmp_path / "x.diff"), 0, DIFF)]
    assert read(gzip.compress(DIFF.encode()), "x.diff.gz")[0].text == DIFF


def test_each_message_of_a_mailbox_is_a_document(read: Read, tmp_path: Path) -> None:
    one, two = read(message("[PATCH 1/2] Fix\n it") + message("[PATCH v2 2/2] =?utf-8?q?Gr=C3=BC=C3=9Fe?=", body=""))
    uri = str(tmp_path / "p.patch")
    assert one == Document("p.patch:1", uri, 1, f"Fix it\n\nBecause.\n---\n a.py | 2 +-\n\n{DIFF}-- \n2.39.5\n\n")
    assert (two.document_id, two.document_offset) == ("p.patch:20", 20)
    (shown,) = show_diff(two)
    assert isinstance(shown, Document)
    assert shown.text == '@message\n#|Grüße\n@file "a.py" modified\n@@\n-|one\n1+|ONE\n'


def test_a_message_may_be_in_transfer_encoding(read: Read) -> None:
    encoded = message(
        "x", DIFF.replace("=", "=3D").replace("ONE", "=4FNE"), "Content-Transfer-Encoding: quoted-printable\n"
    )
    (document,) = read(encoded)
    assert document.text is not None and "+ONE\n" in document.text


def test_a_message_may_be_attached(read: Read) -> None:
    parts = "".join(f"--b\nContent-Type: text/x-patch\n\n{text}\n" for text in ("Because.\n---", DIFF))
    (document,) = read(
        f"From {HASH} Mon Sep 17 00:00:00 2001\nSubject: x\nMIME-Version: 1.0\n"
        f"Content-Type: multipart/mixed; boundary=b\n\n{parts}--b--\n"
    )
    (shown,) = show_diff(document)
    assert isinstance(shown, Document) and shown.failure is None
    assert shown.text == '@message\n#|x\n#|\n#|Because.\n@file "a.py" modified\n@@\n-|one\n1+|ONE\n'


def test_what_is_not_utf8_is_replaced_so_that_the_rest_can_be_reviewed(read: Read) -> None:
    (document,) = read(DIFF.encode().replace(b"ONE", b"caf\xe9"))
    assert document.text is not None and "+caf\ufffd\n" in document.text


def test_windows_line_ends_and_byte_order_mark(read: Read) -> None:
    (document,) = read(b"\xef\xbb\xbf" + DIFF.replace("\n", "\r\n").encode())
    (shown,) = show_diff(document)
    assert isinstance(shown, Document) and shown.text == '@file "a.py" modified\n@@\n-|one\n1+|ONE\n'


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        (b"", []),
        (b" \n\n", ["p.patch: holds no text; send it again or remove it"]),
        (DIFF.encode("utf-16"), [None]),
        (message("x", "", body="").replace("---\n a.py | 2 +-\n\n", "").replace(SIGNATURE, "\n").encode(),
         ["p.patch:1: holds no text; send it again or remove it"]),
        (message("=?utf-8?q?=FF?=").encode(), ["p.patch:1: mail is malformed; export it again"]),
        (message("x", "+" * 3000).encode() + message("y").encode(),
         ["p.patch:1: line is 3003 bytes (limits.max_document_bytes is 2000); split it or raise the limit", None]),
        (message("x", "+++\n" * 600).encode() + message("y").encode(),
         ["p.patch:1: patch is more than 2000 bytes (limits.max_document_bytes is 2000); split it or raise the limit",
          None]),
        (b"+++\n" * 600,
         ["p.patch: patch is more than 2000 bytes (limits.max_document_bytes is 2000); split it or raise the limit"]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_failed_document(read: Read, content: bytes, reasons: list[str | None]) -> None:
    assert [document.failure for document in read(content)] == reasons


def test_mails_within_mails_without_end_fail(read: Read) -> None:
    (document,) = read(message("x", headers="Content-Type: message/rfc822\n\n" * 3_000), limit=1_000_000)
    assert document.failure == "p.patch:1: mail is malformed; export it again"


def test_an_endless_subject_is_cut(read: Read) -> None:
    (document,) = read(message("=?utf-8?q?a?= " * 50_000), limit=1_000_000)
    (shown,) = show_diff(document)
    assert isinstance(shown, Document) and shown.text is not None and len(shown.text) < 3_000


def test_a_message_without_a_diff_fails_alone(read: Read) -> None:
    outcomes = [next(show_diff(document)) for document in read(message("x", "") + message("y"))]
    assert [isinstance(found, Document) and found.failure for found in outcomes] == [
        "p.patch:1: holds no unified diff; send the output of git diff, git format-patch or diff -u", None
    ]  # fmt: skip


def test_a_damaged_archive_fails(read: Read) -> None:
    (document,) = read(gzip.compress(DIFF.encode() * 9)[:-9], "x.diff.gz")
    assert document.failure == "x.diff.gz: compressed data is cut off or damaged from here on; send the file again"


def test_memory_is_bounded_by_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "big.mbox"
    with path.open("w") as file:
        for number in range(1_500):
            file.write(message(f"message {number}", body="x" * 1_000 + "\n"))
    (source,) = list_sources(str(path))
    tracemalloc.start()
    try:
        count = sum(document.failure is None for document in read_patches(source, RowColumns(), 10_000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 1_500 and path.stat().st_size > 1_500_000
    assert peak_bytes < 600_000
