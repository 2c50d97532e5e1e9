"""A run whose first tier is a hosted server, by the command: killed while it asks, resumed; nothing is asked twice."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from infra.local.first_tier.__main__ import server_of
from infra.local.first_tier.service import Fault, FirstTierService
from tests.scenarios.pipeline_command import PipelineCommand, write_job

pytestmark = pytest.mark.processes


def test_a_killed_run_goes_on_and_pays_for_no_document_twice(pipeline: PipelineCommand, tmp_path: Path) -> None:
    texts = [f"document number {number}" for number in range(400)]
    documents = tmp_path / "in.jsonl"
    lines = [{"id": str(number), "text": text, "label": "other"} for number, text in enumerate(texts)]
    documents.write_text("".join(f"{json.dumps(line | {'is_private': line['id'] == '7'})}\n" for line in lines))
    service = FirstTierService("ollama", key="sk-secret")
    server = server_of(service)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    pipeline.extra_environment["OLLAMA_TEST_KEY"] = "sk-secret"
    job = write_job(
        tmp_path / "job.yaml",
        input=str(documents),
        output=str(tmp_path / "results"),
        model={
            "endpoint": f"http://127.0.0.1:{server.server_port}/v1",
            "name": "stand-in",
            "where": "hosted",
            "price": {"input": "0.10", "output": "0.40"},
            "key_env": "OLLAMA_TEST_KEY",
            "requests_at_once": 4,
        },
        labels={"billing": None, "outage": None, "other": None},
        quality={"raw_threshold": 0.7},
        escalation={"provider": "simulation", "model": "claude-haiku-5-5"},
        evaluation={"gold_column": "label"},
        policy={"never_escalate": "is_private == true"},
        compute=None,
    )
    service.faults = [Fault("slow", seconds=0.02)]
    pipeline.run_and_kill("submit", job, "--run-id", "over-http", when=lambda: service.processed.total() >= 150)
    service.faults = []
    summary = pipeline.run_json("resume", "over-http")["summary"]
    server.shutdown()
    serving.join()
    server.server_close()
    rows = dataset.dataset(summary["results"]).to_table().to_pylist()
    assert len(rows) == 400
    assert max(service.was_processed(text) for text in texts) == 1
    assert service.was_processed(texts[7]) == 0
    assert [row["route"] for row in rows if row["document_id"] == "7"] == ["withheld"]
    lost = [row for row in rows if row["input_tokens"] is None]
    assert 0 < len(lost) <= 64
    assert all("may have been paid" in row["reason"] and row["cost_usd"] is None for row in lost if row["reason"])
    known = sum(row["first_tier_cost_usd"] for row in rows if row["first_tier_cost_usd"] is not None)
    assert 0 < known < Decimal("0.01")
    assert summary["cost_usd"] is None and any("first tier costs is unknown" in each for each in summary["warnings"])
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"sk-secret" not in stored
