"""The main job on real parts: vLLM, Ray, a Prefect flow, the anthropic SDK, Arrow files."""

from __future__ import annotations

import csv
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as dataset
import pytest

from tests.scenarios.pipeline_command import REPOSITORY, TICKETS_JOB, PipelineCommand

DOCUMENTS = 2_000


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> PipelineCommand:
    return PipelineCommand(tmp_path_factory.mktemp("end_to_end"))


@pytest.fixture(scope="module")
def outcome(pipeline: PipelineCommand) -> Any:
    return pipeline.run_json("submit", TICKETS_JOB, "--output", pipeline.home / "results", "--run-id", "whole")


@pytest.fixture(scope="module")
def rows(outcome: Any) -> pa.Table:
    return dataset.dataset(outcome["summary"]["results"]).to_table()


def test_every_document_has_one_row_and_one_route(outcome: Any, rows: pa.Table) -> None:
    assert outcome["state"] == "complete"
    assert rows.num_rows == DOCUMENTS == len(set(rows["item_id"].to_pylist()))
    with (REPOSITORY / "sample_data/tickets/gold.csv").open() as stream:
        assert set(rows["document_id"].to_pylist()) == {row["id"] for row in csv.DictReader(stream)}
    counts = Counter(rows["route"].to_pylist())
    assert {name: route["items"] for name, route in outcome["summary"]["routes"].items() if route["items"]} == counts
    assert counts["accepted"] > counts["escalated"] > 0
    assert counts["failed"] == 0


def test_rows_sum_to_the_run_total_exactly(outcome: Any, rows: pa.Table) -> None:
    summary = outcome["summary"]
    for column in ("gpu_cost_usd", "api_cost_usd", "cost_usd"):
        assert sum(rows[column].to_pylist(), Decimal(0)) == Decimal(summary[column]) > 0
    for row in rows.select(["gpu_cost_usd", "api_cost_usd", "cost_usd"]).to_pylist():
        assert row["gpu_cost_usd"] + row["api_cost_usd"] == row["cost_usd"]


def test_claude_was_asked_about_the_doubtful_and_helped(outcome: Any, rows: pa.Table) -> None:
    accuracy = outcome["summary"]["accuracy"]
    assert 0.8 < accuracy["engine_alone"] < accuracy["final"] <= 1
    by_route = {route: rows.filter(pa.compute.equal(rows["route"], route)) for route in ("accepted", "escalated")}
    doubt = {route: pa.compute.mean(table["raw_prob"]).as_py() for route, table in by_route.items()}
    assert doubt["escalated"] < doubt["accepted"]
    assert set(by_route["escalated"]["model"].to_pylist()) == {"claude-haiku-5-5 (simulation)"}
    assert set(by_route["accepted"]["model"].to_pylist()) == {"starter"}
    assert by_route["accepted"]["confidence"].null_count == 0, "the run's labels calibrate it"
    assert by_route["escalated"]["confidence"].null_count == len(by_route["escalated"])


def test_the_promise_is_stated_and_kept(outcome: Any, rows: pa.Table) -> None:
    quality = outcome["summary"]["quality"]
    assert (quality["target"], quality["agreement_lower"], quality["stopped_by"]) == (0.9, 0.9, None)
    assert quality["statement"].startswith("Promised: agreement with Claude on at least 90 % of 2,000 items")
    # The simulated Claude differs from the gold labels on 3 % of the documents.
    wrong = sum(row["answer"] != row["gold_label"] for row in rows.select(["answer", "gold_label"]).to_pylist())
    assert wrong <= (0.1 + 0.05) * DOCUMENTS


def test_the_same_submit_again_changes_nothing(pipeline: PipelineCommand, outcome: Any) -> None:
    root = Path(outcome["root"])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    again = pipeline.run("submit", TICKETS_JOB, "--output", pipeline.home / "results", "--run-id", "whole")
    assert again.returncode == 0
    assert "run whole is complete already; --run-id NAME runs the job anew" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


def test_another_job_under_the_same_run_id_is_refused(pipeline: PipelineCommand, outcome: Any) -> None:
    other = pipeline.home / "other.yaml"
    other.write_text(TICKETS_JOB.read_text().replace("target: 0.90", "target: 0.95"))
    refused = pipeline.run("submit", other, "--output", pipeline.home / "results", "--run-id", "whole")
    assert refused.returncode == 2
    assert "run id 'whole' is taken by a run with another job; choose another --run-id" in refused.stderr


def test_status_results_and_cost_read_the_store(pipeline: PipelineCommand, outcome: Any) -> None:
    status = pipeline.run_json("status", "whole")
    assert status["state"] == "complete"
    assert status["planned_items"] == DOCUMENTS
    assert status["scored_shards"] == status["shards"]
    assert pipeline.run_json("cost", outcome["root"]) == outcome["summary"]
    printed = pipeline.run("results", "whole", "--json")
    assert len([json.loads(line) for line in printed.stdout.splitlines()]) == DOCUMENTS
    shown = pipeline.run("results", "whole")
    assert f"{DOCUMENTS:,} rows in {outcome['summary']['results']}" in shown.stdout


def test_a_simulation_says_so(pipeline: PipelineCommand, outcome: Any) -> None:
    shown = pipeline.run("submit", TICKETS_JOB, "--output", pipeline.home / "results", "--run-id", "whole")
    assert "simulation: Claude's answers were made from the gold labels; nothing was billed" in shown.stdout


def test_no_document_text_reaches_the_log_or_the_journal(pipeline: PipelineCommand, outcome: Any) -> None:
    with (REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl").open() as stream:
        sentences = [json.loads(line)["text"][:60] for line in stream][:200]
    logs = (pipeline.home / "state" / "logs").glob("*.log")
    written = [*logs, *(Path(outcome["root"]) / "escalations").rglob("*.json")]
    assert written
    for path in written:
        content = path.read_text(errors="replace")
        assert not [sentence for sentence in sentences if sentence in content], path
