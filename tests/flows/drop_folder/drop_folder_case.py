"""A drop folder of a test: its job, its files, and a starter that remembers what it was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flows.drop_folder.inbox import Inbox
from flows.drop_folder.job_rules import JobFileOptions
from flows.drop_folder.jobs import JobFinder
from flows.drop_folder.reception import Reception
from flows.drop_folder.starters import RunStarter
from flows.run import Run
from pipelines.errors import ServiceError
from tests.s3_fixtures import Bucket

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


def reception(
    location: str, job: Path, starter: RunStarter, lines: list[str], bounds: JobFileOptions | None = None
) -> Reception:
    inbox = Inbox(location)
    return Reception(inbox, JobFinder(inbox, job, bounds), starter, lines.append)


@dataclass
class Case:
    """A drop folder and what a test puts into it."""

    location: str
    output: str
    put: Callable[[str, bytes], object]
    get: Callable[[str], bytes]
    all_keys: Callable[[], list[str]]
    job: Path
    prefix: str
    lines: list[str] = field(default_factory=list)
    starter: RecordingStarter = field(default_factory=RecordingStarter)
    bounds: JobFileOptions | None = field(default_factory=JobFileOptions)

    def reception(self, job: Path | None = None, starter: RecordingStarter | None = None) -> Reception:
        return reception(self.location, job or self.job, starter or self.starter, self.lines, self.bounds)

    def take(self, path: str) -> None:
        self.reception().take(self.prefix + path)

    def report(self, folder: str, path: str) -> Any:
        suffix = {"status": ".json", "rejected": ".rejected.json"}[folder]
        return json.loads(self.get(f"{folder}/{self.prefix}{path}{suffix}"))

    def reports(self, folder: str) -> list[str]:
        return sorted(key for key in self.all_keys() if key.startswith(folder + "/") and "/_" not in key)


def local_case(tmp_path: Path) -> Case:
    folder = tmp_path / "inbox"
    folder.mkdir()

    def put(key: str, body: bytes) -> None:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)

    output = str(tmp_path / "results")
    return Case(
        location=str(folder),
        output=output,
        put=put,
        get=lambda key: (folder / key).read_bytes(),
        all_keys=lambda: [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()],
        job=write_job(tmp_path / "job.yaml", output),
        prefix="",
    )


def s3_case(bucket: Bucket, tmp_path: Path) -> Case:
    output = f"{bucket.uri}/results"
    return Case(
        location=f"{bucket.uri}/in/box/",
        output=output,
        put=bucket.put,
        get=bucket.get,
        all_keys=bucket.all_keys,
        job=write_job(tmp_path / "job.yaml", output),
        prefix="in/box/",
    )
