"""A small job whose runs need no engine, and the files it reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml

from pipelines.documents.sources.sources import list_sources
from pipelines.job.job import Job
from pipelines.store import layout
from pipelines.store.objects import Store

LABELS = ("billing", "outage")


def tickets_job(folder: Path, **changes: object) -> Job:
    """A job over `inbox` into `results`; the simulation answers everything."""
    (folder / "inbox").mkdir(exist_ok=True)
    fixed = {
        "name": "tickets",
        "task": "classification",
        "input": str(folder / "inbox"),
        "output": str(folder / "results"),
        "model": "off",
        "labels": dict.fromkeys(LABELS),
        "escalation": {"provider": "simulation", "model": "claude-haiku-5-5"},
        "evaluation": {"gold_column": "label"},
        "budget_usd": "5",
    }
    return Job.model_validate(fixed | changes)


def write_job(path: Path, job: Job) -> Path:
    path.write_text(yaml.safe_dump(job.model_dump(mode="json", exclude_none=True) | {"model": "off"}))
    return path


def drop(folder: Path, name: str, rows: int = 3, *, modified_at: int | None = None) -> Path:
    """Write a file of tickets into the inbox; ``modified_at`` (in seconds since 1970) makes it an old one."""
    path = folder / "inbox" / f"{name}.jsonl"
    tickets = ({"text": f"ticket {row} of {name}", "label": LABELS[row % 2]} for row in range(rows))
    path.write_text("".join(json.dumps(ticket) + "\n" for ticket in tickets))
    if modified_at is not None:
        os.utime(path, (modified_at, modified_at))
    return path


def listed(job: Job) -> list[str]:
    return [source.path for source in list_sources(job.input)]


def complete(root: str) -> None:
    """Mark a run complete without running it."""
    Store(root).create(layout.COMPLETE, b"{}")
