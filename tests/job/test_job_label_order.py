"""In which order the engine reads a job's labels: what a job file may say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.job.job import Job
from tests.job.job_case import CLAUDE, GOOD, load, path, problems
from tests.job.test_job_review import REVIEW

__all__ = ["path"]


@pytest.mark.parametrize("order", ["seeded", "averaged"])
def test_an_order_is_part_of_what_is_asked(path: Path, order: str) -> None:
    job = load(path, f"{GOOD}label_order: {order}\n")
    assert job.label_order == order
    assert job.model_dump(mode="json")["label_order"] == order
    assert Job.model_validate(job.model_dump(mode="json")) == job


def test_a_job_that_does_not_ask_for_another_order_is_written_as_it_always_was(path: Path) -> None:
    """The record of a run, and with it the run's id, are those of a job from before there were orders."""
    plain, said = load(path, GOOD), load(path, GOOD + "label_order: given\n")
    assert plain.label_order == "given"
    assert plain == said
    assert "label_order" not in plain.model_dump(mode="json")
    assert plain.model_dump(mode="json") == said.model_dump(mode="json")


def test_an_unknown_order_is_refused(path: Path) -> None:
    assert problems(path, GOOD + "label_order: shuffled\n") == [
        "line 9: label_order: input should be 'given', 'seeded' or 'averaged'"
    ]


def test_without_labels_for_an_engine_to_read_an_order_is_refused(path: Path) -> None:
    refused = ["job: label_order goes with an engine that classifies; here none reads labels: leave it out"]
    assert problems(path, REVIEW + "label_order: seeded\n") == refused
    claude_alone = GOOD.replace("model: starter", "model: off").replace("quality: {raw_threshold: 0.9}\n", "")
    claude_alone = claude_alone.replace("escalation: off", CLAUDE)
    assert problems(path, claude_alone + "label_order: averaged\n") == refused
    assert load(path, claude_alone + "label_order: given\n").model is None
