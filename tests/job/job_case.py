"""A small job file, and loading a text as one: what the tests of the job file share."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.job_file import load_job

GOOD = """\
name: tickets
task: classification
input: inbox/
output: out/
model: starter
labels: {billing: "money", outage: null}
quality: {raw_threshold: 0.9}
escalation: off
"""
CLAUDE = "escalation: {model: claude-haiku-5-5}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "job.yaml"


def load(path: Path, text: str, overrides: dict[str, Any] | None = None) -> Job:
    path.write_text(text, encoding="utf-8")
    return load_job(path, overrides)


def problems(path: Path, text: str, overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(JobError) as caught:
        load(path, text, overrides)
    return caught.value.problems
