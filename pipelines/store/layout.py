"""Where everything of a run lives, relative to the run's root; at the end, the same for a series of runs."""

from __future__ import annotations

import re
from typing import Literal

from pipelines.errors import JobError

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

ResultFormat = Literal["parquet", "arrow"]
RESULT_SUFFIXES = (".parquet", ".arrow")

JOB = "job.yaml"
RUN = "run.json"
INPUT = "input.arrow"
CARRIED = "carried.arrow"
ADAPTERS = "adapters.json"
PLAN = "plan"
PLAN_COMPLETE = "plan/complete.json"
PREDICTIONS = "predictions"
SCORING = "scoring"
ENGINES = "engines"
LEFT_OUT = "review/left-out.arrow"
FINDINGS = "review/findings.arrow"
SARIF = "review/findings.sarif"
REVIEW_MARKDOWN = "review/summary.md"
REVIEW_SUMMARY = "review/summary.json"
DECISIONS = "calibration/decisions.arrow"
DOUBTFUL = "calibration/doubtful.arrow"
RULE = "calibration/rule.json"
PRIOR = "calibration/prior.json"
TERM = "calibration/term.json"
ESCALATIONS = "escalations"
RESULTS = "results"
PEOPLE = "people"
QUESTIONS = "questions"
SUMMARY = "summary.json"
REPORT = "report.html"
COMPLETE = "_COMPLETE"
SERIES_CLAIMS = "runs"
SERIES_DONE = "done"
SERIES_TAKEN = "taken"
SERIES_ADAPTERS = "adapters"


def check_run_id(run_id: str) -> None:
    """Refuse an id that is more than the name of one folder below the output: it may come from anywhere.

    Raises:
        JobError: it is.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise JobError(
            [
                f"run id {run_id[:80]!r}: give at most 128 letters without accents, digits, '.', '_' and '-', "
                "beginning with a letter or digit"
            ]
        )


def below(output: str, name: str) -> str:
    """The folder of a run, or of a series, below a job's output."""
    return f"{output.rstrip('/')}/{name}"


def plan_part(shard: int) -> str:
    """Name of the object with one shard's items, texts and tokens."""
    return f"{PLAN}/part-{shard:05d}.arrow"


def predictions_part(shard: int) -> str:
    """Items of one shard with their predictions and without their texts, in the plan's order."""
    return f"{PREDICTIONS}/part-{shard:05d}.arrow"


def shard_of(key: str) -> int:
    """The shard number in a part's key."""
    return int(key.rsplit("part-", 1)[1].split(".", 1)[0])


def chunk_object(chunk: int, name: str) -> str:
    """Something in the journal of one message batch."""
    return f"{ESCALATIONS}/chunk-{chunk:05d}/{name}"


def accepted_results(group: int, form: ResultFormat = "parquet") -> str:
    """Rows decided without Claude, of one group of shards."""
    return f"{RESULTS}/part-{group:05d}-scored.{form}"


def escalated_results(chunk: int, form: ResultFormat = "parquet") -> str:
    """Rows of the items of one message batch."""
    return f"{RESULTS}/part-{chunk:05d}-escalated.{form}"


def copied_results(group: int, form: ResultFormat = "parquet") -> str:
    """Rows of copies, of one group of shards."""
    return f"{RESULTS}/part-{group:05d}-copies.{form}"


def engine_time(started_at_ns: int) -> str:
    """How long one scoring session held its engines; a killed session leaves none."""
    return f"{SCORING}/session-{started_at_ns}.json"


def engines_begun(started_at_ns: int) -> str:
    """That a scoring session has its engines; unlike `engine_time`, there while it goes on, and after a kill."""
    return f"{ENGINES}/begun-{started_at_ns}.json"


def unsent_results(group: int, form: ResultFormat = "parquet") -> str:
    """Rows of doubtful items that were not sent, of one group of shards."""
    return f"{RESULTS}/part-{group:05d}-unsent.{form}"


def question_folder(question: str) -> str:
    """Of a run that asks several questions: all that is one question's own, in the order of an ordinary run."""
    return f"{QUESTIONS}/{question}"


def people_part(number: int) -> str:
    """What people have answered at one time; the only objects of a run that are made after it is complete."""
    return f"{PEOPLE}/part-{number:05d}.arrow"


def first_tier_object(shard: int, name: str) -> str:
    """Something in the journal of one shard's paid calls to a first tier over HTTP."""
    return f"first_tier/shard-{shard:05d}/{name}"


def quality_folder(job_name: str) -> str:
    """Profiles of the runs of a job, below its output."""
    return f"_quality/{job_name}"


def terms_folder(job_name: str) -> str:
    """Where the runs of a job that keep one promise together are counted, below its output."""
    return f"_terms/{job_name}"


def input_of_run(digest: str) -> str:
    """Which run was the first over an input and a job, below the job's output."""
    return f"_inputs/{digest}.json"


def series_folder(job_name: str) -> str:
    """The folder of a series of runs, below the job's output."""
    return f"_series/{job_name}"


def series_claim(number: int) -> str:
    """Which run is the series' run of that number."""
    return f"{SERIES_CLAIMS}/{number:07d}.json"


def series_done(number: int) -> str:
    """That the run of that number was seen complete: its own folder may be cleared away some day."""
    return f"{SERIES_DONE}/{number:07d}.json"


def series_files(token: str) -> str:
    """The files of one run, kept before the run is claimed; the claim names the token."""
    return f"files/{token}.arrow"


def series_taken(number: int) -> str:
    """What all runs up to that number have taken: saves reading their lists one by one."""
    return f"{SERIES_TAKEN}/{number:07d}.arrow"


def series_training(number: int) -> str:
    """The folder of one training of a series, see `pipelines.adapting.chain`."""
    return f"{SERIES_ADAPTERS}/{number:07d}"


def number_of(key: str) -> int:
    """The run's number in a series' key."""
    return int(key.rsplit("/", 1)[-1].split(".", 1)[0])
