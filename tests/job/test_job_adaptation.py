"""`adapt` in a job file: what may stand there, and with what it goes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from pipelines.job.job import Job
from tests.job.job_case import CLAUDE, GOOD, load, path, problems

__all__ = ["path"]

TARGET = GOOD.replace("{raw_threshold: 0.9}", "{target: 0.9}").replace("escalation: off", CLAUDE)


def test_a_series_says_how_often_and_from_whose_labels(path: Path) -> None:
    job = load(path, TARGET + "adapt: {every: 30d}\n")
    assert job.adapt and (job.adapt.period, job.adapt.sources) == (timedelta(days=30), ("gold", "people"))
    named = load(path, TARGET + "adapt: {every: 7d, from: [gold, claude]}\n")
    assert named.adapt and named.adapt.sources == ("gold", "claude")
    written = yaml.safe_dump(named.model_dump(mode="json"))
    assert "from:" in written
    assert Job.model_validate(yaml.safe_load(written)) == named
    assert "adapt" not in load(path, TARGET).model_dump(mode="json"), "runs from before it keep their id"


@pytest.mark.parametrize(
    ("adapt", "problem"),
    [
        ("{every: 3w}", "line 9: adapt.every: '3w' is no number of days from 1d to 9999d; give one such as 30d"),
        ("{every: 30}", "line 9: adapt.every: '30' is no number of days from 1d to 9999d; give one such as 30d"),
        ("{every: 0d}", "line 9: adapt.every: '0d' is no number of days from 1d to 9999d; give one such as 30d"),
        ("{from: [gold]}", "line 9: adapt.every: missing"),
        ("{every: 30d, form: [gold]}", "line 9: adapt.form: no such field; did you mean 'from'; see"),
        ("{every: 30d, from: [engine]}", "line 9: adapt.from.0: input should be 'gold', 'people' or 'claude'"),
        ("{every: 30d, from: []}", "line 9: adapt.from: nobody is named; name some of gold, people and claude"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(path: Path, adapt: str, problem: str) -> None:
    [told] = problems(path, f"{TARGET}adapt: {adapt}\n")
    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD, "job: adapt: an adapter is judged at the job's target; give quality.target, or leave adapt out"),
        (
            f"{TARGET}budget_usd: 1\n".replace("model: starter", "model: off").replace("quality: {target: 0.9}\n", ""),
            "job: adapt: no engine of this job's own answers, so there is no model to adapt; leave it out",
        ),
        (
            TARGET.replace("{target: 0.9}", "{target: 0.9, term_items: 5000}"),
            "job: adapt: an adapter is judged by what it spares runs that keep their promise alone; leave adapt out, "
            "or quality.term_items",
        ),
    ],
)
def test_it_goes_with_an_engine_under_a_target(path: Path, text: str, problem: str) -> None:
    assert problems(path, text + "adapt: {every: 30d}\n") == [problem]


def test_it_goes_with_code_reviews_too(path: Path) -> None:
    text = TARGET.replace("classification", "code_review").replace('labels: {billing: "money", outage: null}\n', "")
    assert load(path, text + "adapt: {every: 30d}\n").adapt
