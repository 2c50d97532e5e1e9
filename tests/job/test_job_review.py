"""The job file of a code review."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.job.job import Job
from tests.job.job_case import GOOD, load, path, problems

__all__ = ["path"]

REVIEW = """\
name: my-diffs
task: code_review
input: diffs/
output: out/
model: starter
escalation: off
quality: off
"""


def test_a_review_needs_neither_labels_nor_instructions(path: Path) -> None:
    job = load(path, REVIEW)
    assert job.labels == {"faulty": None, "clean": None}
    assert job.instructions.startswith("Review the code for faults.")
    assert (job.reviews.revisions, job.reviews.tree, job.reviews.threshold) == (None, False, 0.5)
    assert Job.model_validate(job.model_dump(mode="json")) == job


def test_a_review_of_commits_or_of_a_tree(path: Path) -> None:
    assert load(path, REVIEW + "review: {revisions: v1..v2, unit: file}\n").reviews.unit == "file"
    assert load(path, REVIEW + "review: {tree: true, revision: HEAD}\n").reviews.revision == "HEAD"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            "review: {revisions: a..b, tree: true}",
            "line 8: review: give either revisions, for commits, or tree, for whole files",
        ),
        ("review: {revision: HEAD}", "line 8: review: revision goes with tree; for commits, give revisions"),
        ("review: {unit: file}", "line 8: review: unit goes with revisions"),
        ("labels: {good: null, bad: null}", "job: labels: a code review answers faulty or clean; leave labels out"),
    ],
)
def test_a_review_that_contradicts_itself(path: Path, more: str, problem: str) -> None:
    assert problems(path, f"{REVIEW}{more}\n") == [problem]


def test_what_belongs_to_a_review_is_refused_elsewhere(path: Path) -> None:
    refused = ["job: review and evaluation.faults_file go with task: code_review"]
    assert problems(path, GOOD + "review: {threshold: 0.7}\n") == refused
    assert problems(path, GOOD + "evaluation: {faults_file: faults.csv}\n") == refused


def test_a_simulated_review_needs_known_faults(path: Path) -> None:
    text = REVIEW.replace("escalation: off", "escalation: {model: claude-haiku-5-5, provider: simulation}")
    assert problems(path, text.replace("quality: off", "quality: {raw_threshold: 0.9}")) == [
        "job: escalation.provider `simulation` answers from known faults: give evaluation.faults_file, or set "
        "escalation to `off` or its provider to `anthropic`"
    ]
