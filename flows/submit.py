"""Where every way of starting a run ends: a job file, checked, becomes a run, processed by the flow."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import has_magic
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.progress import ProgressReporter
from flows.run import Run, list_input, open_run, prepare_run
from flows.run_lock import wait_for_sole_process
from flows.series import Series
from pipelines.cascade.rule.history import Stage
from pipelines.costs.price_book import price_book
from pipelines.documents.gold import read_gold_file
from pipelines.documents.records import SourceFile
from pipelines.errors import JobError, NoInputError
from pipelines.escalation.journal import Journal
from pipelines.job import Job
from pipelines.job_file import load_job
from pipelines.report.summary import Summary
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.tasks.code_review.labelled_faults import read_labelled_faults
from workers.catalogue import find_entry

MISSING_KEY = (
    "escalation.provider: `anthropic` needs ANTHROPIC_API_KEY in the environment; set it, or use "
    "`--provider simulation` (answers from gold labels), or `escalation: off`"
)

# Third parties that report home unless told not to. A user's own setting wins.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "ANTHROPIC_OPEN_TELEMETRY": "false",
    "TOKENIZERS_PARALLELISM": "true",
}


@dataclass(frozen=True)
class Outcome:
    """How a submit ended; ``summary`` is None while message batches are open."""

    job_path: Path | None
    run_id: str
    root: str
    was_complete: bool
    summary: Summary | None
    notes: tuple[str, ...] = ()  # on the findings of a code review

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        summary = self.summary.model_dump(mode="json") if self.summary else None
        state = "complete" if summary else "waiting for Claude"
        return {"run_id": self.run_id, "root": self.root, "state": state, "summary": summary}


def quiet_third_parties() -> None:
    """To be called before Ray, Prefect, vLLM or the SDK is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def submit_job(
    path: Path, overrides: dict[str, Any], run_id: str | None, wait: bool, progress: ProgressReporter
) -> Outcome:
    """Check the job, commit the run, and process it; a run already begun is continued.

    Raises:
        JobError: with every problem of the job; nothing has run.
        ServiceError: something outside failed; what is committed is kept.
    """
    return process_run(begin_job(path, overrides, run_id), path, wait, progress)


def begin_job(path: Path, overrides: dict[str, Any], run_id: str | None = None) -> Run:
    """Check a job and commit its run; nothing has run.

    Raises:
        JobError: with every problem of the job.
        StoreError: the output cannot be written.
    """
    quiet_third_parties()
    job = load_job(path, overrides)
    return prepare_run(job, check_surroundings(job), run_id)


def submit_since_last(path: Path, overrides: dict[str, Any], wait: bool, progress: ProgressReporter) -> Outcome | None:
    """Bring the job's series one run further; an unfinished run of it comes first.

    Returns:
        How it ended; None if no file is new, or another process has just claimed the next run.

    Raises:
        JobError: with every problem of the job; nothing has run.
        ServiceError: something outside failed; what is committed is kept.
    """
    quiet_third_parties()
    job = load_job(path, overrides)
    series = Series(job)
    run = series.unfinished()
    if run is None:
        claimed = series.claim_next(check_surroundings(job, may_be_empty=True))
        if claimed is None:
            progress.say(f"nothing in '{job.input}' is new or changed since the last run")
            return None
        if not claimed.is_new:
            progress.say(f"another process has just begun run {claimed.run.run_id}; it is left to that one")
            return None
        run = claimed.run
    return process_run(run, path, wait, progress)


def resume_run(run: str, wait: bool, progress: ProgressReporter) -> Outcome:
    """Do what is left of a run; of a complete one, nothing.

    Raises:
        RunNotFoundError: there is no such run.
        JobError: it cannot go on as it was begun.
        ServiceError: something outside failed; what is committed is kept.
    """
    quiet_third_parties()
    return process_run(open_run(run), None, wait, progress)


def process_run(
    run: Run, path: Path | None, wait: bool, progress: ProgressReporter, until: Stage | None = None
) -> Outcome:
    """Bring a run to its end, or as far as `flows.process` says."""
    progress.say(f"run       {run.run_id}")
    # Imported late: Ray and Prefect take seconds, which a refused job need not wait for.
    from flows.review_publication import read_review
    from flows.stages import read_summary, start_engines_if_needed

    def notes() -> tuple[str, ...]:
        review = read_review(run.store)
        return tuple(review.as_lines()) if review else ()

    if summary := read_summary(run):
        return Outcome(path, run.run_id, run.store.root, True, summary, notes())
    with ThreadPoolExecutor(1, thread_name_prefix="engines") as executor:
        engines = executor.submit(start_engines_if_needed, run)  # while Prefect is imported and starts its server
        from flows.prefect_server import prefect_at_hand
        from flows.process import early_engines, process, reporter

        reporter.set(progress)
        early_engines.set(engines)
        with prefect_at_hand(progress):
            summary = process(run.store.root, wait=wait, until=until)
    return Outcome(path, run.run_id, run.store.root, False, summary, notes())


def cancel_run(run: str, progress: ProgressReporter) -> Outcome:
    """Send nothing more, stop what is under way, take in what was answered by then, and close the books.

    Raises:
        RunNotFoundError: there is no such run.
    """
    quiet_third_parties()
    from flows.prefect_server import prefect_at_hand
    from flows.process import process, reporter
    from flows.stages import read_summary

    opened = open_run(run)
    if summary := read_summary(opened):
        return Outcome(None, opened.run_id, opened.store.root, True, summary)
    if not any(opened.store.list(layout.ESCALATIONS)):
        raise JobError([f"run '{run}' has sent nothing to Claude: there is nothing to cancel; just stop its process"])
    Journal(opened.store).cancel(datetime.now(UTC))
    wait_for_sole_process(opened.store.root)  # a process that works on the run sees the word, and closes the books
    reporter.set(progress)
    with prefect_at_hand(progress):
        summary = process(opened.store.root, wait=True)
    return Outcome(None, opened.run_id, opened.store.root, False, summary)


def check_surroundings(job: Job, *, may_be_empty: bool = False) -> list[SourceFile]:
    """Check that what the job names is there; the files of its input, listed once because it can take long.

    Args:
        job: what is asked.
        may_be_empty: an input without a file is fine, unless it is a local path that does not exist.

    Raises:
        JobError: with everything that is not there.
    """
    sources: list[SourceFile] = []
    _run_checks(
        lambda: sources.extend(_list_input(job, may_be_empty)),
        lambda: _check_output(job.output),
        lambda: _check_model(job),
        lambda: _check_gold(job),
        lambda: _check_key(job),
        lambda: _check_budget(job),
        lambda: _check_rounds(job),
    )
    return sources


def check_deployable(job: Job) -> None:
    """The same for a job that others run later: its input may come yet, and the key is theirs.

    Raises:
        JobError: with everything that is not there.
    """
    _run_checks(
        lambda: _check_output(job.output),
        lambda: _check_model(job),
        lambda: _check_gold(job),
        lambda: _check_budget(job),
        lambda: _check_rounds(job),
    )


def _run_checks(*checks: Callable[[], object]) -> None:
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except JobError as error:
            problems += error.problems
    if problems:
        raise JobError(problems)


def _list_input(job: Job, may_be_empty: bool) -> list[SourceFile]:
    try:
        return list_input(job)
    except NoInputError:
        location = job.input
        is_mistyped = "://" not in location and not has_magic(location) and not Path(location).expanduser().exists()
        if may_be_empty and not is_mistyped:
            return []
        raise


def _check_output(output: str) -> None:
    """A new folder is made, but only one level of it: more is a mistyped path more often than a wish."""
    parts = urlsplit(output)
    if parts.scheme not in ("", "file"):
        return
    folder = Path(parts.path if parts.scheme else output).absolute()
    if folder.exists() and not folder.is_dir():
        raise JobError([f"output: '{output}' is a file, not a folder; choose another"])
    if not folder.exists() and not folder.parent.is_dir():
        raise JobError([f"output: no folder '{folder.parent}' to make '{folder.name}' in; create it or mend the path"])
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        raise JobError([f"output: '{output}' cannot be written by this user; choose another or change its permissions"])


def _check_model(job: Job) -> None:
    if job.model is not None:
        find_entry(job.model)


def _check_gold(job: Job) -> None:
    if job.evaluation and job.evaluation.gold_file:
        read_gold_file(job.evaluation.gold_file, job.labels)
    if job.evaluation and job.evaluation.faults_file:
        read_labelled_faults(job.evaluation.faults_file)


def _check_key(job: Job) -> None:
    if job.escalation and job.escalation.provider == "anthropic" and settings().anthropic_api_key is None:
        raise JobError([MISSING_KEY])


def _check_budget(job: Job) -> None:
    """A budget is kept by prices: without one it could only be hoped for."""
    if job.escalation is None or job.budget_usd is None:
        return
    now, seller = datetime.now(UTC), "bedrock" if job.escalation.provider == "bedrock" else "anthropic"
    models = [tier.model for tier in job.escalation.all_tiers]
    unpriced = [model for model in models if price_book().find(model, now, provider=seller) is None]
    if unpriced:
        raise JobError(
            [f"budget_usd: {seller}'s price of '{name}' is unknown, so no budget can be kept" for name in unpriced]
        )


def _check_rounds(job: Job) -> None:
    """The rounds of a target are small: a provider that takes no small batches would leave them unanswered."""
    least = settings().bedrock_minimum_records
    if job.dial in ("target", "budget") and job.escalation and job.escalation.provider == "bedrock" and least > 1:
        raise JobError(
            [
                "quality: a target or a budget alone asks Claude in rounds of 30 items and fewer, and bedrock takes no "
                f"batch of less than {least}; give a raw_threshold, or another escalation.provider"
            ]
        )
