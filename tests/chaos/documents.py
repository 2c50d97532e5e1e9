"""What every chaos run works on: sixty of the sample tickets, in one file or three, and what Claude may answer."""

from __future__ import annotations

import csv
import hashlib
import json
from itertools import islice
from pathlib import Path

import yaml

from tests.faults.escalation_case import MODEL
from tests.scenarios.pipeline_command import REPOSITORY, TICKETS_JOB

DOCUMENTS = 60
_FILES = 3
_TICKETS = REPOSITORY / "sample_data/tickets"


def documents() -> list[dict[str, str]]:
    """The tickets, with their labels."""
    with (_TICKETS / "gold.csv").open(newline="") as stream:
        gold = {row["id"]: row["label"] for row in csv.DictReader(stream)}
    with (_TICKETS / "heldout/tickets.jsonl").open() as stream:
        rows = [json.loads(line) for line in islice(stream, DOCUMENTS)]
    return [{"id": row["id"], "text": row["text"], "label": gold[row["id"]]} for row in rows]


def files(count: int = _FILES) -> dict[str, bytes]:
    """The tickets as files, by name."""
    rows = documents()
    size = len(rows) // count
    return {
        f"tickets-{number}.jsonl": b"".join(
            json.dumps(row).encode() + b"\n" for row in rows[number * size : (number + 1) * size]
        )
        for number in range(count)
    }


def write_answer_key(path: Path) -> Path:
    """What the local batch service answers from."""
    with path.open("w") as stream:
        for row in documents():
            digest = hashlib.sha256(row["text"].encode()).hexdigest()
            stream.write(json.dumps({"text_sha256": digest, "answer": {"label": row["label"]}}) + "\n")
    return path


def write_job(path: Path, bucket: str) -> Path:
    """A job over a bucket's files; doubtful tickets go to Claude in several message batches."""
    job = yaml.safe_load(TICKETS_JOB.read_text()) | {
        "name": "chaos",
        "input": f"s3://{bucket}/in/",
        "output": f"s3://{bucket}/results",
        "quality": {"raw_threshold": 0.9},
        "escalation": {"model": MODEL, "provider": "anthropic", "chunk_items": 10},
        "evaluation": {"gold_column": "label"},
    }
    path.write_text(yaml.safe_dump(job))
    return path
