"""Finding and opening input files: what is listed, under which names, and what is refused."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.documents.records import SourceFile
from pipelines.documents.sources.sources import list_sources, open_seekable
from pipelines.errors import JobError
from tests.documents.sources.source_case import INBOX_FILES, paths, read


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    for name in INBOX_FILES:
        path = tmp_path / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "inbox"


def test_a_folder_is_listed_recursively_sorted_and_without_hidden_or_unfinished_files(inbox: Path) -> None:
    assert paths(inbox) == ["2024/june/d.txt", "2024/may/c.jsonl", "a.csv", "b.jsonl"]


def test_a_folder_that_itself_lies_under_a_hidden_one_is_listed(tmp_path: Path) -> None:
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "a.txt").write_text("a")
    assert paths(tmp_path / ".data") == ["a.txt"]


def test_a_source_says_where_it_is_how_large_and_which_version(inbox: Path) -> None:
    (source,) = list_sources(str(inbox / "a.csv"))
    status = (inbox / "a.csv").stat()
    assert source == SourceFile(str(inbox / "a.csv"), "a.csv", 5, f"{status.st_mtime_ns}-5")


def test_a_file_that_is_written_again_has_another_version(inbox: Path) -> None:
    before = list_sources(str(inbox / "a.csv"))
    os.utime(inbox / "a.csv", ns=(1, 1))
    assert list_sources(str(inbox / "a.csv")) != before


def test_relative_locations_become_absolute(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(inbox.parent)
    assert list_sources("inbox") == list_sources(str(inbox)) == list_sources(f"{inbox}/")


def test_a_file_uri_names_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / "100%.txt").write_text("x")
    assert list_sources((tmp_path / "with space").as_uri()) == list_sources(str(tmp_path / "with space"))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["b.jsonl"]),
        ("**/*.jsonl", ["2024/may/c.jsonl", "b.jsonl"]),
        ("2024/*/?.txt", ["june/d.txt"]),
        ("2024/**", ["june/d.txt", "may/c.jsonl"]),
        ("[ab].*", ["a.csv", "b.jsonl"]),
        ("[!a].*", ["b.jsonl"]),
        ("20*/june/*", ["2024/june/d.txt"]),
    ],
)
def test_a_glob_is_relative_to_its_fixed_leading_folder(inbox: Path, pattern: str, expected: list[str]) -> None:
    assert paths(inbox / pattern) == expected


@pytest.mark.parametrize("name", ["data[1].txt", "what?.txt", "100%25.txt", "a b.txt", "ümlaut.txt"])
def test_a_name_with_special_characters_is_taken_literally_when_it_exists(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(name)
    (source,) = list_sources(str(tmp_path / name))
    assert (source.path, read(source, piece_bytes=7)) == (name, name.encode())


def test_a_hidden_file_named_outright_is_taken(inbox: Path) -> None:
    assert paths(inbox / ".hidden.jsonl") == [".hidden.jsonl"]


@pytest.mark.parametrize("location", ["nowhere", "inbox/*.pdf", "nowhere/*.txt", "inbox/_old/.x*", "empty"])
def test_nothing_found_is_refused_with_the_next_move(inbox: Path, location: str) -> None:
    (inbox.parent / "empty").mkdir()
    wanted = str(inbox.parent / location)
    with pytest.raises(JobError) as caught:
        list_sources(wanted)
    assert caught.value.problems == [
        f"input: nothing found at {wanted!r}; give a file, a folder, a glob or an s3:// prefix"
    ]


def test_an_unknown_kind_of_location_is_refused() -> None:
    with pytest.raises(JobError) as caught:
        list_sources("ftp://host/x")
    assert caught.value.problems == [
        "input: 'ftp://host/x' is of an unknown kind; give a local path, a file:// or an s3:// URI"
    ]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("x.txt", b"one\ntwo\n"),
        ("x.txt.gz", gzip.compress(b"one\n", mtime=0) + gzip.compress(b"two\n", mtime=0)),
        ("x.TXT.GZ", gzip.compress(b"one\ntwo\n", mtime=0)),
        ("x.txt.zst", pa.compress(b"one\n", "zstd", asbytes=True) + pa.compress(b"two\n", "zstd", asbytes=True)),
    ],
)
def test_compressed_files_are_decompressed_on_the_fly(tmp_path: Path, name: str, stored: bytes) -> None:
    (tmp_path / name).write_bytes(stored)
    (source,) = list_sources(str(tmp_path))
    assert read(source, piece_bytes=7) == b"one\ntwo\n"


def test_seekable_sources_give_the_stored_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"0123456789")
    with open_seekable(list_sources(str(tmp_path))[0]) as file:
        file.seek(4)
        assert (file.read(2), file.size()) == (b"45", 10)
