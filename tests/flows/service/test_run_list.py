"""`pipeline runs`, and what all commands share: errors for programs, words for what may be meant, the version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from flows.run_record import FORMAT, RunRecord
from pipelines.settings import settings
from tests.flows.command_case import Command, command

__all__ = ["command"]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    (tmp_path / "state" / "runs").mkdir(parents=True)
    yield tmp_path / "state" / "runs"
    settings.cache_clear()


def make_run(root: Path, day: int, *, items: int | None = None) -> None:
    """A run as its store has it: begun, or complete with so many items."""
    root.mkdir(parents=True)
    fixed: dict[str, Any] = dict.fromkeys(("model", "model_revision", "prompt_fingerprint", "input_fingerprint"), "x")
    record = RunRecord(
        format=FORMAT, run_id=root.name, created_at=datetime(2026, 11, day, tzinfo=UTC), input_files=1, input_bytes=1,
        price_book="x", versions={}, **fixed,
    )  # fmt: skip
    (root / "run.json").write_text(record.model_dump_json())
    if items is not None:
        none = dict.fromkeys(("gpu_cost_usd", "api_cost_usd", "all_claude_cost_usd", "accuracy", "provider", "quality"))
        summary = none | {
            "run_id": root.name, "results": "x", "items": items, "routes": {}, "gpu_seconds": 0, "stopped_by": None,
            "cost_usd": "1.25", "escalated_share": 0, "engine_held_seconds": 0, "warnings": [],
        }  # fmt: skip
        (root / "summary.json").write_text(json.dumps(summary))
        (root / "_COMPLETE").write_text("")


def test_runs_of_this_machine_are_listed_newest_first_and_those_that_are_gone_are_told(
    state: Path, tmp_path: Path, command: Command
) -> None:
    make_run(tmp_path / "out" / "old", 1, items=1_234)
    make_run(tmp_path / "out" / "new", 2)
    (tmp_path / "out" / "broken").mkdir()
    (tmp_path / "out" / "broken" / "run.json").write_text("{}")
    for name in ("old", "new", "gone", "broken"):
        (state / name).write_text(str(tmp_path / "out" / name))
    done = command("runs", "--json")
    runs = json.loads(done.out)
    assert [run["name"] for run in runs[:2]] == ["new", "old"]
    assert (runs[1]["items"], Decimal(runs[1]["cost_usd"]), runs[1]["state"]) == (1_234, Decimal("1.25"), "complete")
    assert runs[0]["state"].startswith("planning")
    states = {run["name"]: run["state"] for run in runs}
    assert states["gone"] == "gone: its folder is no longer there"
    assert states["broken"].startswith(f"cannot be read: '{tmp_path}/out/broken/run.json' is damaged")
    shown = command("runs")
    assert (shown.code, done.code) == (0, 0)
    assert "1,234" in shown.out


def test_runs_below_an_output_are_found_by_their_folders(tmp_path: Path, command: Command) -> None:
    make_run(tmp_path / "out" / "one", 1, items=2)
    (tmp_path / "out" / "_series").mkdir()
    (tmp_path / "out" / "something").mkdir()
    assert [run["name"] for run in json.loads(command("runs", "out", "--json").out)] == ["one"]


def test_where_there_is_nothing_it_is_said_in_words(command: Command) -> None:
    assert "no run yet" in command("runs").out
    refused = command("runs", "nowhere")
    assert (refused.code, "no runs at 'nowhere': no such folder" in refused.err) == (2, True)


def test_errors_are_objects_for_programs(state: Path, command: Command) -> None:
    (state / "run_tickets_0123").write_text("x")
    refused = command("status", "run_tickts_0123", "--json")
    words = (
        "no run 'run_tickts_0123' was started on this machine; did you mean 'run_tickets_0123'; give its folder or "
        "s3:// URI"
    )
    assert refused.code == 2
    assert json.loads(refused.out) == {
        "error": {"kind": "run_not_found", "message": words, "problems": [], "exit_code": 2}
    }
    Path("job.yaml").write_text("name: a\nraw_threshold: 1\n")
    refused = command("submit", "job.yaml", "--json")
    error = json.loads(refused.out)["error"]
    assert (error["kind"], error["exit_code"], refused.code) == ("job", 2, 2)
    assert any(
        problem
        == "line 2: raw_threshold: no such field; it is a field of `quality`; see pipelines/job/job.schema.json "
        "for the names"
        for problem in error["problems"]
    )
    assert command("status", "run_tickts_0123").out == ""


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("columns: {txt: a}", "columns.txt: no such field; did you mean 'text'"),
        ("compte: {}", "compte: no such field; did you mean 'compute'"),
        ("escalation: {tiers: [{modl: a}]}", "escalation.tiers.0.modl: no such field; did you mean 'model'"),
        ("task: clasification", "'classification' or 'code_review'; did you mean 'classification'"),
        ("target: 0.9", "target: no such field; it is a field of `quality`"),
    ],
)
def test_a_field_that_does_not_exist_is_told_with_the_one_that_may_be_meant(
    line: str, meant: str, command: Command
) -> None:
    Path("job.yaml").write_text(f"name: a\n{line}\n")
    assert meant in command("doctor", "job.yaml").out


def test_version_and_exit_codes_are_told(command: Command) -> None:
    assert command("--version").out == f"sluice {version('sluice')}\n"
    assert "3 stopped by the budget" in " ".join(command("--help").out.replace("│", " ").split())
