"""`pipeline report`: the page of a complete run again, from its store alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows import process
from flows.cli import app
from flows.console.progress import ProgressReporter
from flows.inspect import write_report
from pipelines.errors import RunNotFoundError, StoreError
from pipelines.report.html.page import run_page
from pipelines.store import layout
from tests.flows.stages.test_nothing_to_score import GOOD, begin, quiet
from tests.report.html.kinds_of_runs import KINDS
from tests.report.html.made_run import make_run, row


def test_it_writes_the_page_where_it_is_told_and_says_where(tmp_path: Path) -> None:
    store = KINDS["kept"](tmp_path)
    file = tmp_path / "page.html"
    assert write_report(store.root, False, file) == file
    assert file.read_bytes() == run_page(store)


def test_by_default_the_file_is_named_after_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_run(tmp_path, [row(1)], texts={"doc-1": "the text of a document"})
    monkeypatch.chdir(tmp_path)
    path = write_report(store.root, True, None)
    assert path == tmp_path / "report-run_1.html"
    assert "the text of a document" in path.read_text(encoding="utf-8")
    assert not store.exists(layout.REPORT), "a page with texts never goes into the run's folder by itself"


def test_a_run_that_is_not_complete_has_none(tmp_path: Path) -> None:
    store = KINDS["kept"](tmp_path)
    (Path(store.root) / layout.COMPLETE).unlink()
    with pytest.raises(RunNotFoundError, match="is not complete yet, and has no report; see `pipeline status"):
        write_report(store.root, False, tmp_path / "page.html")


def test_a_file_that_cannot_be_written_is_told_with_the_next_move(tmp_path: Path) -> None:
    store = KINDS["empty"](tmp_path)
    with pytest.raises(StoreError, match=r"cannot write '.*': Is a directory; name another file with -o"):
        write_report(store.root, False, tmp_path)


def test_the_command_has_its_options() -> None:
    shown = CliRunner().invoke(app, ["report", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    for option in ("--with-texts", "--open", "-o"):
        assert option in shown


@pytest.mark.processes
def test_it_needs_no_engine_and_no_prefect(tmp_path: Path) -> None:
    store = KINDS["kept"](tmp_path)
    code = (
        "import sys\nfrom flows.cli import app\n"
        f"try:\n    app(['report', {store.root!r}, '-o', {str(tmp_path / 'page.html')!r}])\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "heavy = {'ray', 'prefect', 'vllm', 'torch', 'anthropic'}\n"
        "assert not heavy & {name.partition('.')[0] for name in sys.modules}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"report    {tmp_path / 'page.html'}\n"


def test_a_fault_in_drawing_leaves_the_run_to_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path, GOOD)
    said: list[str] = []
    progress: ProgressReporter = quiet()
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(process, "run_page", lambda store: {}["no such figure"])
    process._commit_report(run, progress)
    assert said == ["report    could not be made (KeyError); the rows are not touched by it"]
    assert not run.store.exists(layout.REPORT)


def test_what_the_store_refuses_stops_the_run_to_be_resumed(tmp_path: Path) -> None:
    run = begin(tmp_path, GOOD)
    with pytest.raises(StoreError, match=r"summary.json' is missing"):
        process._commit_report(run, quiet())
