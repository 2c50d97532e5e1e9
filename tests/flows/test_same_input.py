"""The same input is the same run: what `touch` changes costs nothing, and a run's own output is no input."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import flows.touched_input
from flows.console.progress import ProgressReporter
from flows.run import Run, list_input, prepare_run, run_sources
from flows.stages.planning import plan_documents
from pipelines.documents.left_out import told_left_out
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.schemas import from_arrow
from tests.flows.service.series_case import drop, tickets_job


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "inbox" / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def begin(job: Job, run_id: str | None = None) -> Run:
    return prepare_run(job, list_input(job), run_id)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the input were too large to be read for its name."""
    monkeypatch.setattr(flows.touched_input, "_HASHED_FILES", 0)


def test_a_touched_input_is_the_same_run_and_a_changed_one_is_another(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    path = drop(tmp_path, "a", modified_at=1_000)
    run = begin(job)
    os.utime(path, (2_000, 2_000))
    assert begin(job).run_id == run.run_id
    assert [source.path for source in run_sources(run)] == ["a.jsonl"]
    path.write_bytes(path.read_bytes().replace(b"ticket 0", b"ticket 7"))
    os.utime(path, (2_000, 2_000))
    assert begin(job).run_id != run.run_id, "the same name, size and time, and another content"
    with pytest.raises(JobError, match="has changed since run"):
        run_sources(run)


def test_of_a_large_input_new_times_alone_are_refused_before_anything_is_spent(tmp_path: Path, many: None) -> None:
    job = tickets_job(tmp_path)
    path = drop(tmp_path, "a", modified_at=1_000)
    run = begin(job)
    assert begin(job).run_id == run.run_id
    os.utime(path, (2_000, 2_000))
    with pytest.raises(JobError) as refused:
        begin(job)
    assert f"`--run-id {run.run_id}` goes on with that run" in refused.value.problems[0]
    assert begin(job, run.run_id).run_id == run.run_id
    assert [source.path for source in run_sources(run)] == ["a.jsonl"]
    assert begin(job, "anew").run_id == "anew"
    assert begin(tickets_job(tmp_path, budget_usd="6")).run_id != run.run_id, "another job is another run"
    drop(tmp_path, "a", rows=4)
    assert begin(job).run_id != run.run_id, "and so is another size"


def test_of_a_large_input_whose_run_was_deleted_a_new_one_begins(tmp_path: Path, many: None) -> None:
    job = tickets_job(tmp_path)
    path = drop(tmp_path, "a", modified_at=1_000)
    run = begin(job)
    (Path(run.store.root) / layout.RUN).unlink()
    os.utime(path, (2_000, 2_000))
    assert begin(job).run_id != run.run_id


@pytest.mark.parametrize("output", ["inbox/out", "inbox"])
@pytest.mark.parametrize("is_large", [False, True])
def test_a_job_whose_output_lies_in_its_input_begins_plans_and_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, is_large: bool
) -> None:
    if is_large:
        monkeypatch.setattr(flows.touched_input, "_HASHED_FILES", 0)
    job = tickets_job(tmp_path, output=str(tmp_path / output))
    drop(tmp_path, "a")
    (tmp_path / "inbox" / ".hidden").write_text("x")
    (tmp_path / "inbox" / "gone.txt").symlink_to("nowhere")
    run = begin(job)
    plan = plan_documents(run, ProgressReporter(Console(file=io.StringIO())))
    assert (plan.items, plan.failed_items) == (4, 1)
    own = {"output": 1, "hidden": 1, "state": 1}
    if output == "inbox" and is_large:
        own["hidden"] = 3  # _inputs/ and _staging/
    assert plan.left_out == own
    assert len(from_arrow(run.store.read(layout.LEFT_OUT))) == sum(own.values())
    assert begin(job).run_id == run.run_id
    assert told_left_out(plan.left_out).endswith(f"{own['hidden']} hidden, 1 output, 1 state)")
