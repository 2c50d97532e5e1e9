"""Hashes of large files: read once, and again when the file may have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.settings import settings
from workers.engines import file_hashes
from workers.engines.file_hashes import file_hash

SIZE = 2_000_000


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files that were read whole; their times of change count as long past."""
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(file_hashes, "_SETTLED_SECONDS", -1.0)
    settings.cache_clear()
    read, original = [], file_hashes._read

    def counted(path: Path) -> str:
        read.append(path)
        return original(path)

    monkeypatch.setattr(file_hashes, "_read", counted)
    yield read
    settings.cache_clear()


def weights(folder: Path, content: bytes) -> Path:
    path = folder / "model.bin"
    path.write_bytes(content * SIZE)
    return path


def test_a_large_file_is_read_once(tmp_path: Path, reads: list[Path]) -> None:
    path = weights(tmp_path, b"a")
    assert {file_hash(path) for _ in range(3)} == {hashlib.sha256(b"a" * SIZE).hexdigest()}
    assert reads == [path]


def test_one_that_was_changed_is_read_again_even_if_its_time_was_set_back(tmp_path: Path, reads: list[Path]) -> None:
    path = weights(tmp_path, b"a")
    before = path.stat()
    first = file_hash(path)
    weights(tmp_path, b"b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_hash(path) != first
    assert len(reads) == 2


def test_one_that_was_changed_a_moment_ago_is_not_remembered(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hashes, "_SETTLED_SECONDS", 3_600.0)
    path = weights(tmp_path, b"a")
    assert file_hash(path) == file_hash(path)
    assert len(reads) == 2


def test_small_files_are_always_read(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert file_hash(path) == file_hash(path)
    assert len(reads) == 2
