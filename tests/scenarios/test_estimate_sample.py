"""`pipeline estimate --sample N`, engines starting at once: a few are scored, all are counted, nobody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand, write_job

pytestmark = pytest.mark.processes


def test_a_sample_is_scored_once_and_claude_is_not_asked(pipeline: PipelineCommand, tmp_path: Path) -> None:
    job = write_job(
        tmp_path / "job.yaml",
        input=str(REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl"),
        output=str(tmp_path / "results"),
        quality={"target": 0.9},
        escalation={"model": "claude-haiku-5-5", "provider": "anthropic"},  # and there is no key
    )
    done = pipeline.run("estimate", job, "--sample", "60")
    assert done.returncode == 0, done.stderr + pipeline.log()
    assert "sample    only 60 of 700 documents were scored" in done.stdout
    assert "gold labels of 60 of the sample stand in for Claude's answers" in done.stdout
    assert "all asked 700 items by claude-haiku-5-5, in batches: about " in done.stdout
    found = pipeline.run_json("estimate", job, "--sample", "60")
    assert (found["sampled"], found["documents"], found["spent_usd"]) == (60, 700, None)
    assert [each["target"] for each in found["targets"]] == [0.9, 0.95, 0.98, 0.99]
    for name in ("device_seconds", "wall_seconds", "engine_usd", "all_claude_usd"):
        assert 0 < found[name]["least"] <= found[name]["about"] <= found[name]["most"], name
    again = pipeline.run("estimate", job, "--sample", "60")
    assert "60 items were scored before" in again.stdout
    (kept,) = (tmp_path / "results" / "_samples").iterdir()
    assert not (kept / "escalations").exists()
    assert pipeline.run_json("runs", tmp_path / "results") == [], "it is no run of the job"
