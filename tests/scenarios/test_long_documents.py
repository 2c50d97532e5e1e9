"""Runs with documents that no model here reads at once: Ray, Prefect, message batches; the engine is a stand-in."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.dataset as dataset
import pytest

from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand, write_job

pytestmark = pytest.mark.processes

TICKETS = REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl"
# More than claude-haiku-4-5 surely takes, and of a size that one engine reads in windows only.
LONG = "The meeting began at nine, and nobody had a remark. " * 9_000


def job_of(folder: Path, **changes: Any) -> Path:
    """Twenty tickets and one document of some hundred windows, which the stand-in's random answers leave doubtful."""
    tickets = [json.loads(line) for line in TICKETS.read_text(encoding="utf-8").splitlines()[:20]]
    with (REPOSITORY / "sample_data/tickets/gold.csv").open(newline="") as file:
        gold = {row["id"]: row["label"] for row in csv.DictReader(file)}
    rows = [{"id": each["id"], "text": each["text"], "label": gold[each["id"]]} for each in tickets]
    rows.insert(7, {"id": "long", "text": LONG, "label": "sales_question"})
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    escalation = {"model": "claude-haiku-4-5", "provider": "simulation", "simulated_error_rate": 0}
    return write_job(
        folder / "job.yaml",
        **{
            "input": str(folder / "in.jsonl"),
            "output": str(folder / "results"),
            "evaluation": {"gold_column": "label"},
            "escalation": escalation,
            "long_documents": {"how": "windows"},
            **changes,
        },
    )


def rows_of(outcome: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = dataset.dataset(outcome["summary"]["results"]).to_table().to_pylist()
    return rows


def check_long_row(outcome: Any) -> dict[str, Any]:
    assert outcome["state"] == "complete"
    rows = rows_of(outcome)
    assert len(rows) == 21
    assert sum((row["cost_usd"] for row in rows), Decimal(0)) == Decimal(outcome["summary"]["cost_usd"]) > 0
    (row,) = (row for row in rows if row["document_id"] == "long")
    assert (row["route"], row["answer"]) == ("escalated", "sales_question"), "the simulation knows what it was shown"
    assert row["windows"] > 50
    assert row["reason"].startswith(f"read in {row['windows']} windows of up to ")
    assert "; Claude read window " in row["reason"] and row["reason"].endswith(", as it takes no more")
    assert row["output_tokens"] == row["windows"], "one token is written for each window"
    assert all(other["windows"] is None for other in rows if other is not row)
    return row


def test_a_long_document_is_read_in_windows_and_claude_is_shown_the_surest(
    pipeline: PipelineCommand, tmp_path: Path
) -> None:
    row = check_long_row(pipeline.run_json("submit", job_of(tmp_path), "--run-id", "long-windows"))
    assert row["api_input_tokens"] < 200_000
    shown = row["reason"].rpartition("Claude read ")[2].count("window ")
    assert 1 < shown < row["windows"]


@pytest.mark.prove
def test_killed_while_its_batch_is_begun_the_run_goes_on_and_sends_the_same(
    pipeline: PipelineCommand, tmp_path: Path
) -> None:
    submit = ("submit", job_of(tmp_path), "--run-id", "long-killed")
    escalations = tmp_path / "results/long-killed/escalations"
    pipeline.run_and_kill(*submit, when=lambda: any(escalations.rglob("intent*")))
    check_long_row(pipeline.run_json("resume", "long-killed"))
    assert len(list(escalations.rglob("submitted*"))) == 1, "nothing was sent twice"


@pytest.mark.prove
@pytest.mark.parametrize("how", ["head_tail", "refuse"])
def test_head_and_tail_or_a_failed_row_say_what_was_not_read(
    pipeline: PipelineCommand, tmp_path: Path, how: str
) -> None:
    job = job_of(tmp_path, long_documents={"how": how}, quality="off", escalation="off")
    outcome = pipeline.run_json("submit", job, "--run-id", f"long-{how}")
    (row,) = (row for row in rows_of(outcome) if row["document_id"] == "long")
    assert outcome["state"] == "complete" and row["windows"] is None
    if how == "refuse":
        assert (row["route"], row["input_tokens"]) == ("failed", 0)
        assert "tokens long, and the model reads 1,776 of a document at once" in row["reason"]
    else:
        assert row["route"] == "accepted"
        assert row["reason"].startswith("head and tail: the engine read the first 8")


@pytest.mark.prove
def test_too_many_windows_fail_one_row_and_the_sample_estimate_knows_it(
    pipeline: PipelineCommand, tmp_path: Path
) -> None:
    job = job_of(tmp_path, long_documents={"how": "windows", "max_windows": 5})
    found = pipeline.run_json("estimate", job, "--sample", "21")
    assert (found["sampled"], found["documents"]) == (21, 21)
    outcome = pipeline.run_json("submit", job, "--run-id", "long-too-many")
    (row,) = (row for row in rows_of(outcome) if row["document_id"] == "long")
    assert row["route"] == "failed"
    assert "long_documents.max_windows is 5; raise it or engine.max_model_len" in row["reason"]
    assert row["cost_usd"] == 0, "nothing is paid for it"
