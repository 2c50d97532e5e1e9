"""A drop folder of a test: its job, its files, and a starter that remembers what it was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from flows.drop_folder.inbox import Inbox
from flows.drop_folder.jobs import JobFinder
from flows.drop_folder.reception import Reception
from flows.drop_folder.starters import RunStarter
from flows.run import Run
from pipelines.errors import ServiceError

# The cheapest job there is: no engine, and a policy that holds every document back from Claude.
JOB: dict[str, Any] = {
    "name": "dropped",
    "task": "classification",
    "input": "replaced by each dropped file",
    "model": "off",
    "labels": {"billing": None, "other": None},
    "escalation": {"model": "claude-haiku-5-5", "provider": "simulation"},
    "evaluation": {"gold_column": "label"},
    "policy": {"never_escalate": "may_leave != true"},
}
DOCUMENT = b'{"id": "1", "text": "an invoice", "label": "billing", "may_leave": false}\n'


def job_text(output: str, **changes: Any) -> str:
    return yaml.safe_dump(JOB | {"output": output} | changes)


def write_job(path: Path, output: str, **changes: Any) -> Path:
    path.write_text(job_text(output, **changes))
    return path


class RecordingStarter:
    """Starts nothing; remembers, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.started: list[tuple[str, str]] = []
        self.runs: list[Run] = []
        self._failures = failures

    def check(self) -> None:
        pass

    def start(self, run: Run, claim_id: str) -> str | None:
        if self._failures:
            self._failures -= 1
            raise ServiceError("Prefect cannot be reached")
        self.started.append((run.run_id, claim_id))
        self.runs.append(run)
        return "http://127.0.0.1/flow-run"


def reception(location: str, job: Path, starter: RunStarter, lines: list[str]) -> Reception:
    inbox = Inbox(location)
    return Reception(inbox, JobFinder(inbox, job), starter, lines.append)
