"""A run of which nothing can be scored: no engine, nobody asked, every row published, and a problem that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli.running import show_outcome
from flows.console.terminal import Terminal
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, prepare_run
from flows.stages import planning, publishing, scoring
from flows.submit import SubmitOutcome
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.report.page import as_markdown, reason_lines
from pipelines.report.summary import NEEDED_COLUMNS, Summary, summarize
from pipelines.store import layout
from pipelines.store.schemas import read_part
from tests.faults.escalation_case import quiet

# The tokenizer takes seconds to load; transformers warns about itself.
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore")]


def begin(folder: Path, *rows: dict[str, Any], **changes: Any) -> Run:
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    fixed = {
        "name": "nothing",
        "task": "classification",
        "input": str(folder / "in.jsonl"),
        "output": str(folder),
        "model": "starter",
        "labels": {"billing": None, "outage": None},
        "quality": {"raw_threshold": 0.9},
        "escalation": "off",
        "compute": {"device_hour_usd": "0.05"},
    }
    job = Job.model_validate(fixed | changes)
    return prepare_run(job, check_surroundings(job), "run")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    runs: list[Run] = []
    monkeypatch.setattr(scoring, "start_engines", runs.append)
    return runs


BLANK = {"text": " "}
GOOD = {"text": "we were charged twice"}


def test_no_engine_is_asked_for_before_or_after_the_plan_and_the_rows_say_why(
    tmp_path: Path, started: list[Run]
) -> None:
    run = begin(tmp_path, BLANK, BLANK, {"text": 3})
    assert scoring.start_engines_if_needed(run) is None
    plan = planning.plan_documents(run, quiet())
    assert (plan.items, plan.scorable_items) == (3, 0)
    scoring.settle_unscored(run, plan)
    assert scoring.unscored_shards(run, plan) == []
    assert scoring.start_engines_if_needed(run) is None
    assert started == []
    publishing.publish_scored(run, plan, quiet())
    closed = summary_of(run)
    assert closed.routes["failed"].items == 3
    assert [(each.items, each.reason) for each in closed.reasons] == [
        (2, "'text' is blank; fill it in or remove the row"),
        (1, "'text' is a number, not a string; quote it or remove the row"),
    ]
    assert closed.problem == (
        "3 of 3 items failed, 2 of them alike: 'text' is blank; fill it in or remove the row (such as in.jsonl:1)"
    )


def test_an_engine_is_asked_for_at_once_where_a_first_document_can_be_scored(
    tmp_path: Path, started: list[Run]
) -> None:
    run = begin(tmp_path, BLANK, GOOD)
    scoring.start_engines_if_needed(run)
    assert started == [run]


def test_where_the_first_ones_say_nothing_the_plan_decides(
    tmp_path: Path, started: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_LOOKED_AT", 2)
    run = begin(tmp_path, BLANK, BLANK, GOOD)
    scoring.start_engines_if_needed(run)
    assert started == []
    plan = planning.plan_documents(run, quiet())
    scoring.settle_unscored(run, plan)
    scoring.start_engines_if_needed(run)
    assert started == [run]


def test_a_simulation_without_one_known_answer_is_refused_once_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_text("id,label\nanother,billing\n")
    given = {
        "escalation": {"model": "claude-haiku-5-5", "provider": "simulation"},
        "evaluation": {"gold_file": str(tmp_path / "gold.csv")},
    }
    run = begin(tmp_path, GOOD, **given)
    with pytest.raises(JobError, match="none of 1 documents has a known answer"):
        planning.refuse_empty_answer_key(run, planning.plan_documents(run, quiet()))


def summary_of(run: Run) -> Summary:
    parts = [read_part(run.store.read(key), NEEDED_COLUMNS) for key in run.store.list(layout.RESULTS)]
    items = sum(len(part) for part in parts)
    return summarize(parts, tuple(run.job.labels)).summary(
        run_id="run",
        results="results",
        planned_items=items,
        provider=None,
        stopped_by=None,
        engine_held_seconds=0.0,
    )


def test_a_run_with_a_problem_says_so_and_ends_with_exit_code_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], started: list[Run]
) -> None:
    run = begin(tmp_path, BLANK)
    plan = planning.plan_documents(run, quiet())
    scoring.settle_unscored(run, plan)
    publishing.publish_scored(run, plan, quiet())
    closed = summary_of(run)
    terminal = Terminal(as_json=False, keep_output=True)
    with pytest.raises(typer.Exit) as caught:
        show_outcome(terminal, SubmitOutcome(None, "run", run.store.root, False, closed))
    assert caught.value.exit_code == 1
    for stream in (terminal.console.file, terminal._out, terminal._err):
        stream.close()
    shown = capfd.readouterr().out
    assert "problem   1 of 1 items failed, 1 of them alike: 'text' is blank; fill it in or remove the row" in shown
    assert closed.problem is not None
    assert closed.problem in as_markdown(closed)
    assert reason_lines(closed)
