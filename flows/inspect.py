"""Looking at a run: from its store alone, while it runs or long after, on any machine."""

from __future__ import annotations

from pathlib import Path

from flows.run_lock import is_held
from flows.run_record import RunRecord
from pipelines.errors import RunNotFoundError, StoreError
from pipelines.report.html.page import run_page
from pipelines.report.summary import Summary
from pipelines.status.record import RunStatus
from pipelines.status.several import looker_of
from pipelines.store import layout
from pipelines.store.runs import open_store


def run_status(run: str) -> RunStatus:
    """Read a run's state off its store.

    Raises:
        RunNotFoundError: there is no such run.
        StoreError: something of it is missing or cannot be read.
    """
    store = open_store(run)
    return looker_of(store).look(is_held(store.run_root))


def run_summary(run: str) -> Summary:
    """The summary of a complete run.

    Raises:
        RunNotFoundError: it is not complete.
    """
    store = open_store(run)
    committed = store.read_if_exists(layout.SUMMARY)
    if committed is None:
        raise RunNotFoundError(f"run '{run}' is not complete yet, so its books are open; see `pipeline status {run}`")
    return Summary.model_validate_json(committed)


def write_report(run: str, with_texts: bool, file: Path | None) -> Path:
    """Make the page of a complete run, from its store alone, and write it to a file; by default `report-RUN.html` here.

    Raises:
        RunNotFoundError: it is not complete.
        StoreError: something of the run is missing, or the file cannot be written.
    """
    store = open_store(run)
    if not store.exists(layout.COMPLETE):
        raise RunNotFoundError(f"run '{run}' is not complete yet, and has no report; see `pipeline status {run}`")
    page = run_page(store, with_texts)
    path = file or Path(f"report-{RunRecord.of(store).run_id}.html")
    try:
        path.write_bytes(page)
    except OSError as error:
        raise StoreError(f"cannot write '{path}': {error.strerror}; name another file with -o") from error
    return path.resolve()
