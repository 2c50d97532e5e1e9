"""Where every way of starting a run ends: a job file, checked, becomes a run, processed by the flow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.console.progress import ProgressReporter
from flows.preflight.surroundings import Say, check_surroundings, check_training
from flows.run import Run, open_run, prepare_run, refuse_question
from flows.run_lock import wait_for_sole_process
from flows.series import Series
from pipelines.cascade.rule.history import Stage
from pipelines.errors import JobError, SluiceError
from pipelines.escalation.journal import Journal
from pipelines.importing import uncollected
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job_file import load_job
from pipelines.report.summary import Summary
from pipelines.settings import withhold_aws_credentials, withhold_claude_key, withhold_named
from pipelines.store import layout


@dataclass(frozen=True)
class SubmitOutcome:
    """How a submit ended; ``summary`` is None while message batches are open."""

    job_path: Path | None
    run_id: str
    root: str
    was_complete: bool
    summary: Summary | None
    notes: tuple[str, ...] = ()  # on the findings of a code review
    report: str | None = None  # where its page is; a run that an older version completed has none

    def as_json(self) -> dict[str, Any]:
        """Values that ``--json`` prints."""
        summary = self.summary.model_dump(mode="json") if self.summary else None
        state = "complete" if summary else "waiting for Claude"
        return {"run_id": self.run_id, "root": self.root, "state": state, "summary": summary}


def submit_job(
    path: Path, overrides: dict[str, Any], run_id: str | None, wait: bool, progress: ProgressReporter
) -> SubmitOutcome:
    """Check the job, commit the run, and process it; a run already begun is continued.

    Raises:
        JobError: with every problem of the job; nothing has run.
        ServiceError: something outside failed; what is committed is kept.
    """
    return process_run(begin_job(path, overrides, run_id, progress.say), path, wait, progress)


def begin_job(path: Path, overrides: dict[str, Any], run_id: str | None, say: Say) -> Run:
    """Check a job and commit its run; nothing has run. ``say`` hears what is odd and no mistake.

    Raises:
        JobError: with every problem of the job.
        StoreError: the output cannot be written.
    """
    job = load_job(path, overrides)
    if job.adapt is not None:
        say("warning   adapt: this run is none of a series, and trains nothing; --since-last and schedules make one")
    return prepare_run(job, check_surroundings(job, say=say), run_id)


def submit_since_last(
    path: Path, overrides: dict[str, Any], wait: bool, progress: ProgressReporter
) -> SubmitOutcome | None:
    """Bring the job's series one run further; an unfinished run of it comes first.

    Returns:
        How it ended; None if no file is new, or another process has just claimed the next run.

    Raises:
        JobError: with every problem of the job; nothing has run.
        ServiceError: something outside failed; what is committed is kept.
    """
    job = load_job(path, overrides)
    check_training(job)
    series = Series(job)
    run = series.unfinished()
    if run is None:
        claimed = series.claim_next(check_surroundings(job, may_be_empty=True, say=progress.say))
        if claimed is None:
            progress.say(f"nothing in '{job.input}' is new or changed since the last run")
            return None
        if not claimed.is_new:
            progress.say(f"another process has just begun run {claimed.run.run_id}; it is left to that one")
            return None
        run = claimed.run
    return process_run(run, path, wait, progress)


def adapt_after_run(path: Path, overrides: dict[str, Any], progress: ProgressReporter) -> None:
    """Train what is due in the series of a job; what goes wrong is told, for its run has ended as it has."""
    try:
        job = load_job(path, overrides)
        if job.adapt is not None:
            from flows.deciding.series_adapters import adapt_if_due  # imported late: for the few jobs that adapt

            adapt_if_due(Series(job), progress, datetime.now(UTC))
    except SluiceError as error:
        progress.say(f"adapter   not trained: {error}; the series goes on, and its next call tries again")


def resume_run(run: str, wait: bool, progress: ProgressReporter) -> SubmitOutcome:
    """Do what is left of a run; of a complete one, nothing.

    Raises:
        RunNotFoundError: there is no such run.
        JobError: it cannot go on as it was begun.
        ServiceError: something outside failed; what is committed is kept.
    """
    return process_run(open_run(run), None, wait, progress)


def process_run(
    run: Run, path: Path | None, wait: bool, progress: ProgressReporter, until: Stage | None = None
) -> SubmitOutcome:
    """Bring a run to its end, or as far as `flows.process` says."""
    refuse_question(run)
    progress.say(f"run       {run.run_id}")
    if run.job.limits.documents is not None:
        progress.say(f"limit     only the first {run.job.limits.documents:,} documents are read")
    withhold_keys(run)
    # Imported late: Ray and Prefect take seconds, which a refused job need not wait for.
    # First of all what both import, Ray as it starts and Prefect as it is imported, each in a thread of its own: the
    # modules of pydantic.v1 import each other, and one thread would find those of the other half made.
    import pydantic.v1  # noqa: F401  # for the import itself

    from flows.stages.publishing import read_summary
    from flows.stages.review import read_review
    from flows.stages.scoring import start_engines_if_needed

    def notes() -> tuple[str, ...]:
        review = read_review(run.store)
        return tuple(review.as_lines()) if review else ()

    if summary := read_summary(run):
        return SubmitOutcome(path, run.run_id, run.store.root, True, summary, notes(), _report(run, summary))
    with ThreadPoolExecutor(1, thread_name_prefix="engines") as executor:
        engines = executor.submit(start_engines_if_needed, run)  # while Prefect is imported and starts its server
        with uncollected():
            from flows.prefect_server import prefect_at_hand
            from flows.process import early_engines, process, reporter

        reporter.set(progress)
        early_engines.set(engines)
        with prefect_at_hand(progress):
            summary = process(run.store.root, wait=wait, until=until)
    return SubmitOutcome(path, run.run_id, run.store.root, False, summary, notes(), _report(run, summary))


def _report(run: Run, summary: Summary | None) -> str | None:
    return run.store.uri(layout.REPORT) if summary and run.store.exists(layout.REPORT) else None


def withhold_keys(run: Run) -> None:
    """Before Ray and Prefect start processes of theirs, which inherit what this one has."""
    withhold_claude_key()
    if isinstance(run.job.model, ModelEndpoint) and run.job.model.key_env:
        withhold_named(run.job.model.key_env)
    asks_aws = run.job.provider in ("aws", "bedrock")
    if not asks_aws and "s3://" not in run.job.model_dump_json():
        withhold_aws_credentials()


def cancel_run(run: str, progress: ProgressReporter) -> SubmitOutcome:
    """Send nothing more, stop what is under way, take in what was answered by then, and close the books.

    Raises:
        RunNotFoundError: there is no such run.
    """
    withhold_claude_key()
    from flows.prefect_server import prefect_at_hand
    from flows.process import process, reporter
    from flows.stages.publishing import read_summary

    opened = open_run(run)
    refuse_question(opened)
    if summary := read_summary(opened):
        return SubmitOutcome(None, opened.run_id, opened.store.root, True, summary, report=_report(opened, summary))
    asking = [each.store for each in opened.questions or (opened,) if each.job.escalation]
    if not any(any(store.list(layout.ESCALATIONS)) for store in asking):
        raise JobError([f"run '{run}' has sent nothing to Claude: there is nothing to cancel; just stop its process"])
    for store in asking:  # where all is answered already, the run completes as it would have
        if not store.exists(layout.COMPLETE):
            Journal(store).cancel(datetime.now(UTC))
    wait_for_sole_process(opened.store.root)  # a process that works on the run sees the word, and closes the books
    reporter.set(progress)
    with prefect_at_hand(progress):
        summary = process(opened.store.root, wait=True)
    return SubmitOutcome(None, opened.run_id, opened.store.root, False, summary, report=_report(opened, summary))
