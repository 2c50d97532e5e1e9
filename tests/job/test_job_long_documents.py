"""What becomes of long documents: what a job file may say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.job.job import Job
from tests.job.job_case import CLAUDE, GOOD, load, path, problems
from tests.job.test_job_review import REVIEW

__all__ = ["path"]

WINDOWS = "long_documents: {how: windows}\n"


def test_windows_have_their_defaults(path: Path) -> None:
    job = load(path, GOOD + WINDOWS)
    assert job.long_documents is not None
    assert job.long_documents.model_dump() == {
        "how": "windows",
        "merge": "mean",
        "absent": None,
        "overlap_tokens": None,
        "max_windows": 256,
    }
    assert Job.model_validate(job.model_dump(mode="json")) == job


def test_a_job_that_says_nothing_of_them_is_written_as_it_always_was(path: Path) -> None:
    """The record of a run, and with it the run's id, are those of a job from before there was such a section."""
    assert "long_documents" not in load(path, GOOD).model_dump(mode="json")


def test_what_is_of_windows_goes_with_windows(path: Path) -> None:
    job = GOOD + "long_documents: {how: head_tail, merge: surest, max_windows: 3}\n"
    assert problems(path, job) == [
        "line 9: long_documents: merge and max_windows: of windows only, and how is `head_tail`; leave it out"
    ]
    job = GOOD + "long_documents: {how: windows, absent: outage}\n"
    assert problems(path, job) == [
        "line 9: long_documents: absent goes with merge: surest; leave it out, or choose that"
    ]


def test_the_absent_label_is_one_of_the_jobs(path: Path) -> None:
    section = "long_documents: {how: windows, merge: surest, absent: %s}\n"
    assert load(path, GOOD + section % "outage").long_documents is not None
    assert problems(path, GOOD + section % "outtage") == [
        "job: long_documents.absent: 'outtage' is no label; did you mean 'outage'; use a label's name"
    ]


@pytest.mark.parametrize("how", ["windows", "head_tail", "refuse"])
def test_it_is_of_engines_that_classify(path: Path, how: str) -> None:
    section = f"long_documents: {{how: {how}}}\n"
    assert problems(path, REVIEW + section) == [
        "job: long_documents: a code review is cut into pieces as it is; leave it out"
    ]
    claude_alone = GOOD.replace("model: starter", "model: off").replace("quality: {raw_threshold: 0.9}\n", "")
    assert problems(path, claude_alone.replace("escalation: off", CLAUDE) + section) == [
        "job: long_documents is of what an engine reads, and model is `off`; leave it out"
    ]
    over_http = GOOD.replace("model: starter", "model: {endpoint: http://h:1, name: m, where: own}")
    assert problems(path, over_http + section) == [
        "job: long_documents: a first tier over HTTP is shown the beginning of what is too long for it, and its row "
        "says so; leave it out, or give model a name or a source, for an engine of its own"
    ]
