"""A run killed with -9 at its worst moments, and continued by the same command."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand, write_job

pytestmark = pytest.mark.processes

HELDOUT = REPOSITORY / "sample_data/tickets/heldout"


def _files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.arrow")}


def test_killed_while_scoring_then_while_claude_answers(pipeline: PipelineCommand, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", input=str(HELDOUT / "tickets.jsonl"), output=str(tmp_path / "results"))
    root = tmp_path / "results" / "killed"
    submit = ("submit", job, "--run-id", "killed")

    def is_scoring() -> bool:
        return (root / "plan/complete.json").exists() and any(_files(root / "predictions"))

    pipeline.run_and_kill(*submit, when=is_scoring)
    scored = _files(root / "predictions")
    planned = _files(root / "plan")
    status = pipeline.run_json("status", "killed")
    assert status["state"] in ("scoring", "scoring, stopped"), "the first for half a minute after the last commit"
    assert 1 <= status["scored_shards"] < status["shards"]

    pipeline.run_and_kill(*submit, when=lambda: any(root.glob("escalations/*/intent-*.json")))
    intents = {path: path.read_bytes() for path in root.glob("escalations/*/intent-*.json")}

    pipeline.run_json(*submit, "--no-wait")
    collected = pipeline.run("collect")
    assert collected.returncode == 0, collected.stderr
    outcome = pipeline.run_json(*submit)
    assert outcome["state"] == "complete"
    assert _files(root / "plan") == planned, "the plan was made once"
    assert scored.items() <= _files(root / "predictions").items(), "no committed shard was scored again"
    after = {path: path.read_bytes() for path in root.glob("escalations/*/intent-*.json")}
    assert intents.items() <= after.items(), "what was intended before the kill still stands"

    rows = dataset.dataset(outcome["summary"]["results"]).to_table()
    assert rows.num_rows == 700 == len(set(rows["item_id"].to_pylist()))
    assert sum(rows["cost_usd"].to_pylist(), Decimal(0)) == Decimal(outcome["summary"]["cost_usd"])
    assert not (root / "_staging").exists()
