"""Two questions in one pass on real parts (vLLM, Ray, Prefect, the anthropic SDK), killed at its worst moments."""

from __future__ import annotations

import csv
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as dataset
import pytest
import yaml

from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand

pytestmark = [pytest.mark.prove, pytest.mark.engine, pytest.mark.timeout(1_800)]

SAMPLE = REPOSITORY / "sample_data/jobs/questions.yaml"
DOCUMENTS = 400
URGENT = {"outage", "security", "account_access"}


def tickets(path: Path) -> Path:
    """The first of the sample tickets, with the known answers to both questions in columns of their own."""
    with (REPOSITORY / "sample_data/tickets/gold.csv").open() as stream:
        gold = {row["id"]: row["label"] for row in csv.DictReader(stream)}
    lines = (REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl").read_text(encoding="utf-8").splitlines()
    with path.open("w", encoding="utf-8") as stream:
        for line in lines[:DOCUMENTS]:
            ticket = json.loads(line)
            topic = gold[ticket["id"]]
            row = {"id": ticket["id"], "text": ticket["text"], "topic": topic}
            stream.write(json.dumps(row | {"urgent": "yes" if topic in URGENT else "no"}) + "\n")
    return path


def write_job(folder: Path) -> Path:
    job: dict[str, Any] = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    job |= {"input": str(tickets(folder / "tickets.jsonl")), "output": str(folder / "out"), "budget_usd": 1}
    job["compute"] = {"device_hour_usd": 0.05, "engines": 1}
    job["questions"]["topic"]["evaluation"] = {"gold_column": "topic"}
    job["questions"]["urgent"] |= {"escalation": None, "evaluation": {"gold_column": "urgent"}}
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job, sort_keys=False))  # the order of the labels is part of the prompt
    return path


def parts(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.glob("questions/*/predictions/*.arrow")}


def test_killed_while_scoring_then_while_claude_answers_nothing_is_lost_and_nothing_paid_twice(tmp_path: Path) -> None:
    pipeline = PipelineCommand(tmp_path)
    submit = ("submit", write_job(tmp_path), "--run-id", "several")
    root = tmp_path / "out" / "several"
    pipeline.run_and_kill(*submit, when=lambda: len(parts(root)) >= 3)
    scored = parts(root)
    status = pipeline.run_json("status", "several")
    assert 0 <= status["scored_shards"] < status["shards"]
    pipeline.run_and_kill(*submit, when=lambda: any(root.glob("questions/*/escalations/*/intent-*.json")))
    intents = {path: path.read_bytes() for path in root.glob("questions/*/escalations/*/intent-*.json")}

    pipeline.run_json("resume", "several", "--no-wait")
    collected = pipeline.run("collect")
    assert collected.returncode == 0, collected.stderr
    outcome = pipeline.run_json("resume", "several")
    assert outcome["state"] == "complete"
    assert scored.items() <= parts(root).items(), "no committed part was scored again"
    assert all(path.read_bytes() == before for path, before in intents.items()), "what was intended still stands"

    summary = outcome["summary"]
    rows = dataset.dataset(summary["results"]).to_table()
    assert Counter(rows["question"].to_pylist()) == {"topic": DOCUMENTS, "urgent": DOCUMENTS}
    assert len({(row["item_id"], row["question"]) for row in rows.to_pylist()}) == 2 * DOCUMENTS
    assert sum(rows["cost_usd"].to_pylist(), Decimal(0)) == Decimal(summary["cost_usd"])
    assert Decimal(pipeline.run_json("cost", "several")["cost_usd"]) == Decimal(summary["cost_usd"]) < 1
    for question in ("topic", "urgent"):
        asked = Counter(
            item
            for path in root.glob(f"questions/{question}/escalations/*/intent-00.json")
            for item in json.loads(path.read_bytes()).get("draft", {}).get("item_ids", ())  # the last is the end
        )
        own = rows.filter(pc.equal(rows["question"], question))
        escalated = set(own.filter(pc.equal(own["route"], "escalated"))["item_id"].to_pylist())
        assert set(asked) == escalated and set(asked.values()) == {1}, "each was asked about, and paid, once"

    topic, urgent = (rows.filter(pc.equal(rows["question"], name)).sort_by("item_id") for name in ("topic", "urgent"))
    promise = json.loads((root / "questions/topic/calibration/rule.json").read_bytes())
    assert (promise["target"], promise["agreement_lower"]) == (0.9, 0.9)
    wrong = pc.sum(pc.not_equal(topic["answer"], topic["gold_label"])).as_py()
    assert wrong <= (0.1 + 0.05) * DOCUMENTS, "the simulated Claude itself differs on 3 % of the documents"
    share = pc.sum(urgent["cached_tokens"]).as_py() / pc.sum(urgent["input_tokens"]).as_py()
    assert share > 0.6, "of the second question's prompts, the document was in the cache"
    assert pc.sum(topic["cached_tokens"]).as_py() / pc.sum(topic["input_tokens"]).as_py() < 0.2
