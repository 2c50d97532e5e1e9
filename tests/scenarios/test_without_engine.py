"""A run that starts on Claude: no engine, two tiers in order of price."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand, write_job

pytestmark = pytest.mark.processes


def test_the_cheap_tier_answers_and_passes_some_labels_on(pipeline: PipelineCommand, tmp_path: Path) -> None:
    job = write_job(
        tmp_path / "job.yaml",
        input=str(REPOSITORY / "sample_data/tickets/heldout"),
        output=str(tmp_path / "results"),
        model=False,
        quality=None,
        escalation={
            "provider": "simulation",
            "tiers": [
                {"model": "claude-haiku-5-5", "pass_on": ["security"]},
                {"model": "claude-sonnet-5-5"},
            ],
        },
        budget_usd="50.00",
        limits={"documents": 400},
    )
    summary = pipeline.run_json("submit", job, "--run-id", "claude-only")["summary"]
    rows = dataset.dataset(summary["results"]).to_table().to_pylist()
    assert len(rows) == 400
    assert {row["route"] for row in rows} == {"escalated"}
    by_model = {row["model"] for row in rows if row["answer"] == "security"}
    assert by_model == {"claude-sonnet-5-5 (simulation)"}, "what the first tier calls security goes on"
    assert {row["model"] for row in rows} == {"claude-haiku-5-5 (simulation)", "claude-sonnet-5-5 (simulation)"}
    assert all(row["gpu_cost_usd"] == 0 and row["engine_answer"] is None for row in rows)
    assert sum(row["cost_usd"] for row in rows) == Decimal(summary["cost_usd"]) <= 50
    assert pipeline.run_json("status", "claude-only")["state"] == "complete"
