"""The loop closed with real engines: run 1, `pipeline adapt`, and run 2 over other documents with the adapter."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bench.changed_labels import as_job, changed_tickets
from tests.scenarios.pipeline_command import PipelineCommand

pytestmark = [pytest.mark.prove, pytest.mark.engine, pytest.mark.timeout(7_200)]

DOCUMENTS = 900
TARGET = {"target": 0.9, "assurance": 0.9, "audit_items": 20}


def run_json(pipeline: PipelineCommand, *arguments: str | Path) -> Any:
    """On a busy machine, training takes an hour."""
    return pipeline.run_json(*arguments, timeout=6_000)


@pytest.mark.hours
def test_run_2_asks_a_third_less_than_run_1_with_an_adapter_that_run_1_has_taught(tmp_path: Path) -> None:
    tickets = changed_tickets()
    for number in (1, 2):
        part = tickets[number * DOCUMENTS - DOCUMENTS : number * DOCUMENTS]
        lines = [json.dumps({"id": each.id, "text": each.text, "topic": each.label}) for each in part]
        (tmp_path / f"half-{number}.jsonl").write_text("\n".join(lines))
    escalation = {"model": "claude-haiku-5-5", "provider": "simulation"}
    job = as_job(
        name="changed-labels",
        input=str(tmp_path / "half-1.jsonl"),
        output=str(tmp_path / "out"),
        model="starter",
        quality=TARGET,
        escalation=escalation,
        evaluation={"gold_column": "topic"},
    )
    (tmp_path / "job.yaml").write_text(job)
    pipeline, adapter = PipelineCommand(tmp_path), tmp_path / "adapter"
    first = run_json(pipeline, "submit", tmp_path / "job.yaml")
    adapted = run_json(pipeline, "adapt", first["run_id"], "-o", str(adapter))
    assert adapted["is_better"]
    assert {path.name for path in adapter.iterdir()} == {
        "README.md",
        "adapter_card.json",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    options = ("--input", tmp_path / "half-2.jsonl", "--adapter", adapter)
    second = run_json(pipeline, "submit", tmp_path / "job.yaml", *options)
    asked = [run["summary"]["routes"]["escalated"]["items"] for run in (first, second)]
    print(f"asked {asked[0]} of {DOCUMENTS} in run 1, {asked[1]} in run 2; the gate expected {adapted['gate']}")
    assert asked[1] <= asked[0] * 2 / 3
    record = json.loads((Path(second["root"]) / "run.json").read_text())
    assert record["model"] == f"starter + {adapter}"
    rule = json.loads((Path(second["root"]) / "calibration/rule.json").read_text())
    assert rule["agreement_lower"] == 0.9
    assert rule["prior"]["run_id"] is None, "what was learnt without the adapter says nothing of it"


def test_a_series_trains_once_its_run_is_complete_and_its_next_run_uses_what_passed(tmp_path: Path) -> None:
    inbox, series = tmp_path / "inbox", tmp_path / "out/_series/adapting"
    inbox.mkdir()
    tickets = changed_tickets()

    def put(name: str, first: int, last: int) -> None:
        lines = [json.dumps({"id": each.id, "text": each.text, "topic": each.label}) for each in tickets[first:last]]
        (inbox / name).write_text("\n".join(lines))

    job = as_job(
        name="adapting",
        input=str(inbox),
        output=str(tmp_path / "out"),
        model="starter",
        quality=TARGET,
        escalation={"model": "claude-haiku-5-5", "provider": "simulation"},
        evaluation={"gold_column": "topic"},
    )
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(yaml.safe_load(job) | {"adapt": {"every": "1d"}}))
    pipeline = PipelineCommand(tmp_path)
    put("a.jsonl", 0, DOCUMENTS)
    run_json(pipeline, "submit", tmp_path / "job.yaml", "--since-last")
    assert not (series / "adapters").exists(), "none is due before a day has passed"
    claim = series / "runs/0000001.json"
    yesterday = {"claimed_at": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
    claim.write_text(json.dumps(json.loads(claim.read_text()) | yesterday))
    assert run_json(pipeline, "submit", tmp_path / "job.yaml", "--since-last")["state"] == "nothing new"
    ended = json.loads((series / "adapters/0000001/ended.json").read_text())
    assert ended["outcome"] == "adopted", ended
    put("b.jsonl", DOCUMENTS, DOCUMENTS + 60)
    second = run_json(pipeline, "submit", tmp_path / "job.yaml", "--since-last")
    record = json.loads((Path(second["root"]) / "run.json").read_text())
    assert record["model"] == f"starter + {series}/adapters/0000001/{ended['folder']}"
    assert "This run used the adapter of training 1." in (Path(second["root"]) / "report.html").read_text()
