"""One round over the open runs: each is looked at, whatever became of the others."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.run import open_store
from flows.service import collect
from pipelines.errors import RunNotFoundError, StoreError
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.objects import Store


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this machine remembers its runs."""
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    folder = tmp_path / "state" / "runs"
    folder.mkdir(parents=True)
    yield folder
    settings.cache_clear()


def remember(runs: Path, name: str, location: str) -> None:
    (runs / name).write_text(location)


def open_run_at(tmp_path: Path, runs: Path, name: str) -> str:
    store = Store(str(tmp_path / name))
    store.create(layout.RUN, b'{"run_id": "run"}')
    store.create(layout.chunk_object(0, "intent-00.json"), b"{}")
    remember(runs, name, store.root)
    return store.root


def reporter() -> tuple[ProgressReporter, io.StringIO]:
    screen = io.StringIO()
    return ProgressReporter(Console(file=screen, width=200)), screen


GONE = ["s3://bucket-that-is-gone/run", "/dev/null/run", "http://[::1", "ftp://host/run", ""]


@pytest.mark.parametrize("location", GONE)
def test_a_run_whose_store_is_gone_keeps_nobody_from_the_others(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    def without_bucket(name: str) -> Store:
        if location.startswith("s3:") and name == "a":
            raise StoreError("cannot read 's3://bucket-that-is-gone/run/run.json': there is no such bucket")
        return open_store(name)

    monkeypatch.setattr(collect, "open_store", without_bucket)
    remember(runs, "a", location)
    (runs / "b").write_bytes(b"\xff\xfe")
    root = open_run_at(tmp_path, runs, "c")
    progress, screen = reporter()
    failed: set[str] = set()
    assert collect.open_runs(progress, failed) == [root]
    assert failed == ({"a", "b"} if location.startswith(("s3:", "ftp:")) else {"b"})
    assert "b: unexpected UnicodeDecodeError" in screen.getvalue()


def test_a_removed_run_is_passed_by_and_its_folder_not_made_again(tmp_path: Path, runs: Path) -> None:
    remember(runs, "a", str(tmp_path / "removed"))
    remember(runs, "b", f"file://{tmp_path}/removed")
    progress, screen = reporter()
    failed: set[str] = set()
    assert collect.open_runs(progress, failed) == []
    assert not failed
    assert screen.getvalue() == ""
    assert not (tmp_path / "removed").exists()
    for name in ("a", "b"):
        with pytest.raises(RunNotFoundError, match="no such folder"):
            open_store(name)


@pytest.mark.parametrize("error", [StoreError("the disk is full"), KeyError("what nobody thought of")])
def test_a_run_that_fails_is_told_and_the_next_one_is_processed(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    first, second = (open_run_at(tmp_path, runs, name) for name in ("a", "b"))

    def process(run: str, wait: bool) -> None:
        if run == first:
            raise error

    progress, screen = reporter()
    monkeypatch.setattr(collect, "process", process)
    token = collect.reporter.set(progress)
    assert collect.collect.fn() == 1
    collect.reporter.reset(token)
    told = "the disk is full" if isinstance(error, StoreError) else "unexpected KeyError; the log has the details"
    assert screen.getvalue().splitlines() == ["open      2 runs", f"{first}: {told}", f"{second}: Claude is answering"]
