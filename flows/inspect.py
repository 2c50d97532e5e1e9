"""Looking at a run: from its store alone, while it runs or long after, on any machine."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from flows.run_record import NO_ENGINE, RunRecord
from pipelines.errors import RunNotFoundError, StoreError
from pipelines.escalation.journal import Journal
from pipelines.report.html.page import run_page
from pipelines.report.summary import Summary
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import open_store
from pipelines.store.schemas import from_arrow


class RunStatus(BaseModel):
    """How far a run has come: its state, counts and open message batches."""

    run_id: str
    state: str
    is_planned: bool
    planned_items: int
    shards: int
    scored_shards: int
    batches_sent: int
    batches_collected: int
    next_step: str


def run_status(run: str) -> RunStatus:
    """Read a run's state off its store."""
    store = open_store(run)
    record = RunRecord.model_validate_json(store.read(layout.RUN))
    shards = len(list(store.list(layout.PLAN))) - store.exists(layout.PLAN_COMPLETE)
    scored = shards if record.model == NO_ENGINE else len(list(store.list(layout.PREDICTIONS)))
    journal = Journal(store)
    states = [journal.state(chunk) for chunk in range(journal.chunks())]
    state = _state(store, shards, scored, len(states), sum(s.is_collected for s in states))
    is_complete = store.exists(layout.COMPLETE)
    return RunStatus(
        run_id=record.run_id,
        state=state,
        is_planned=store.exists(layout.PLAN_COMPLETE),
        planned_items=_planned_items(store, shards),
        shards=shards,
        scored_shards=scored,
        batches_sent=sum(s.submitted is not None for s in states),
        batches_collected=sum(s.is_collected for s in states),
        next_step=f"pipeline results {record.run_id}"
        if is_complete
        else f"pipeline resume {record.run_id}   does what is left",
    )


def _state(store: Store, shards: int, scored: int, sent: int, collected: int) -> str:
    if store.exists(layout.COMPLETE):
        return "complete"
    if not store.exists(layout.PLAN_COMPLETE):
        begun = store.list(layout.PREDICTIONS)  # engines do not wait for the whole plan
        return f"planning{' and scoring' if any(begun) else ''}, or stopped while planning"
    if scored < shards:
        return "scoring, or stopped while scoring"
    if collected < sent:
        return "Claude is answering"
    return "scored; sending, collecting or stopped"


def _planned_items(store: Store, shards: int) -> int:
    committed = store.read_if_exists(layout.PLAN_COMPLETE)
    if committed:
        return int(json.loads(committed)["items"])
    return sum(len(from_arrow(store.read(layout.plan_part(shard)), ["item_id"])) for shard in range(shards))


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
    path = file or Path(f"report-{RunRecord.model_validate_json(store.read(layout.RUN)).run_id}.html")
    try:
        path.write_bytes(page)
    except OSError as error:
        raise StoreError(f"cannot write '{path}': {error.strerror}; name another file with -o") from error
    return path.resolve()
