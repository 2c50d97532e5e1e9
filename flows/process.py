"""The flow: what a run does, in order. Re-entrant; resuming is running it again.

Prefect gives the order, the log and the page to look at; the truth about a run is in its store.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from concurrent.futures import Future
from contextvars import ContextVar
from datetime import UTC, datetime
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed
from rich.console import Console

from flows.console.artifact import MetricsArtifact
from flows.console.exporter import served_metrics
from flows.console.progress import ProgressReporter, Stage
from flows.deciding import asking
from flows.deciding.decisions import read_record
from flows.deciding.item_by_item import decide_item_by_item
from flows.escalation.escalate import Escalated, EscalationLoop
from flows.escalation.providers import open_provider
from flows.questions.question import is_calibration_refused
from flows.run import Run, begin_questions, open_run, refuse_question
from flows.run_lock import sole_process
from flows.stages import copies, planning, publishing, scoring
from flows.stages.over_http import first_tier_of
from flows.stages.planning import PlanSummary, of_question
from flows.stages.question_runs import close_questions, settle_questions
from flows.stages.review import publish_review
from flows.stages.scoring import PlannedShards, Scorers
from pipelines.cascade.rule.history import Stage as RuleStage
from pipelines.errors import SluiceError
from pipelines.job.sections import Quality
from pipelines.report.html.page import run_page
from pipelines.report.page import as_markdown
from pipelines.report.summary import NEEDED_COLUMNS, Summary, summarize
from pipelines.routes import Stop
from pipelines.store import layout
from pipelines.store.runs import result_parts
from pipelines.store.schemas import read_part
from workers.engines.own_ray import leave_ray

AWAITING_CLAUDE = "AwaitingClaude"

_SECONDS_BETWEEN_UPDATES = 2.0

# How the command hands its console to the flow: flow parameters must be JSON.
reporter: ContextVar[ProgressReporter | None] = ContextVar("reporter", default=None)
# Engines that the caller has asked for already: they start while Prefect does.
early_engines: ContextVar[Future[Scorers | None] | None] = ContextVar("early_engines", default=None)


@flow(name="sluice-run", flow_run_name="{run}", validate_parameters=False)
def process(run: str, wait: bool = True, until: RuleStage | None = None) -> Summary | None:
    """Bring a committed run to its end, from wherever it stands.

    Args:
        run: id or URI.
        wait: stay until Claude has answered; otherwise return once everything is sent.
        until: with a target, go no further than the labels of this stage.

    Returns:
        The summary. While message batches are open, a state without one: to the caller, None.
    """
    opened = open_run(run)
    if summary := publishing.read_summary(opened):
        return summary
    refuse_question(opened)
    begin_questions(opened)  # a kill may have come between the run's record and theirs
    progress = reporter.get() or ProgressReporter(Console(file=sys.stderr))
    metrics = MetricsArtifact(opened.store)
    progress.on_advance = _ProgressArtifact(opened.run_id, metrics)
    with sole_process(opened.run_id, opened.store.root), served_metrics(opened.store, progress.say):
        summary = _process(opened, wait, until, progress)
        metrics.update(is_last=True)
    if summary:
        return summary
    # By this name `flows.service.watchdog` knows that the run is to be looked at again. Prefect gives the caller None.
    return Completed(name=AWAITING_CLAUDE, message="everything is sent; nothing is held")  # type: ignore[return-value]  # as said


def _process(run: Run, wait: bool, until: RuleStage | None, progress: ProgressReporter) -> Summary | None:
    engines = early_engines.get() or _ask_for_engines(run)
    planned = scoring.PlannedShards(run)
    pool = None
    try:
        planning_under_way = plan_documents.submit(run, planned, progress)  # engines score what is committed of it
        with progress.waiting("engines", "Ray starts"):
            pool = engines.result()
        if pool is None:  # the first documents gave nothing to score, or there is no engine: the whole plan says more
            planning_under_way.result()
            pool = scoring.start_engines_if_needed(run)
        if pool:
            score_shards(run, planned, pool, progress)
        plan = planning_under_way.result()
        scoring.settle_unscored(run, plan)
    finally:
        planned.feed.cancel()
        if pool := pool or _started(engines):
            pool.close()
            leave_ray()
    if not run.questions:
        return _settle(run, plan, progress, wait, until)
    if not settle_questions(
        run.questions, lambda each, told: _settle(each, of_question(each, plan), told, wait, until), progress
    ):
        return None
    return complete_questions(run, plan, progress)


def _settle(
    run: Run, plan: PlanSummary, progress: ProgressReporter, wait: bool, until: RuleStage | None
) -> Summary | None:
    """From the predictions of one question to its end; None while Claude is answering."""
    decided = decide(run, plan, progress, wait, until)
    if not decided.is_done:
        return None
    publish_scored(run, plan, progress)  # rows that need no Claude do not wait for the others
    escalated = escalate_doubtful(run, plan, progress, wait)
    if not escalated.is_done:
        return None
    stop = decided.stop or escalated.stop
    return complete_run(run, plan, stop, progress)


@task(cache_policy=NO_CACHE)
def plan_documents(run: Run, planned: PlannedShards, progress: ProgressReporter) -> PlanSummary:
    """Read, tokenise, cut into shards."""
    try:
        plan = planning.plan_documents(run, progress, planned.add)
        planning.refuse_empty_answer_key(run, plan)
    except BaseException:  # whatever it is: the engines' side is not to wait for more
        planned.feed.cancel()
        raise
    planned.finish(plan)
    return plan


@task(cache_policy=NO_CACHE)
def score_shards(run: Run, planned: PlannedShards, pool: Scorers, progress: ProgressReporter) -> None:
    """Have the engines score what is not scored yet."""
    scoring.score_shards(run, planned, pool, progress)


@task(cache_policy=NO_CACHE)
def decide(run: Run, plan: PlanSummary, progress: ProgressReporter, wait: bool, until: RuleStage | None) -> Escalated:
    """Decide about every item: each by itself, or over the whole run with what Claude answers on the way."""
    if run.rule:
        decide_item_by_item(run, plan, run.rule)
        return Escalated(is_done=True)
    if run.job.escalation is None or not plan.scorable_items:  # nobody is asked about nothing
        return Escalated(is_done=True)
    with open_provider(run, plan, progress) as provider:
        return asking.settle_quality(run, plan, provider, progress, wait=wait, until=until)


@task(cache_policy=NO_CACHE)
def publish_scored(run: Run, plan: PlanSummary, progress: ProgressReporter) -> None:
    """Publish the rows that need no Claude."""
    publishing.publish_scored(run, plan, progress)


@task(cache_policy=NO_CACHE)
def escalate_doubtful(run: Run, plan: PlanSummary, progress: ProgressReporter, wait: bool) -> Escalated:
    """Send, collect and publish the doubtful items, where deciding has not asked about them already."""
    if run.rule is None or run.job.escalation is None or not plan.scorable_items:
        return Escalated(is_done=True)
    with open_provider(run, plan, progress) as provider:
        return EscalationLoop(run, plan, provider, progress).run(wait=wait)


@task(cache_policy=NO_CACHE)
def complete_run(run: Run, plan: PlanSummary, stop: Stop | None, progress: ProgressReporter) -> Summary:
    """Check that every item has its row, close the books, mark the run complete."""
    copies.publish_copies(run, plan, progress)
    parts = result_parts(run.store)
    tally = summarize((read_part(run.store.read(key), NEEDED_COLUMNS) for key in parts), tuple(run.job.labels))
    rule = read_record(run)
    summary = tally.summary(
        run_id=run.run_id,
        results=run.store.uri(layout.RESULTS),
        planned_items=plan.items,
        provider=run.job.escalation.provider if run.job.escalation else None,
        stopped_by=stop,
        engine_held_seconds=scoring.held_device_seconds(run.store),
        rule=rule,
        raw_threshold=run.job.quality.raw_threshold if isinstance(run.job.quality, Quality) else None,
        is_calibration_refused=rule is None and is_calibration_refused(run.question),
        left_out=plan.left_out,
        document_limit=run.job.limits.documents,
        cache_promise=scoring.cache_promise(run.store),
        first_tier=first_tier_of(run),
    )
    tally.check_items(run.run_id, plan.items_sum)
    if run.job.review:
        publish_review(run, plan)
    run.store.create(layout.SUMMARY, summary.model_dump_json(indent=2).encode())
    _commit_report(run, progress)
    if run.record.asked_in is None:
        create_markdown_artifact(as_markdown(summary), key="summary", description=f"Summary of {run.run_id}")
    run.store.create(layout.COMPLETE, json.dumps({"completed_at": datetime.now(UTC).isoformat()}).encode())
    run.store.clear_staging()
    return summary


@task(cache_policy=NO_CACHE)
def complete_questions(run: Run, plan: PlanSummary, progress: ProgressReporter) -> Summary:
    """Check that the rows are those of all questions, close the books, mark the run complete."""
    summary = close_questions(run, plan)
    run.store.create(layout.SUMMARY, summary.model_dump_json(indent=2).encode())
    _commit_report(run, progress)
    create_markdown_artifact(as_markdown(summary), key="summary", description=f"Summary of {run.run_id}")
    run.store.create(layout.COMPLETE, json.dumps({"completed_at": datetime.now(UTC).isoformat()}).encode())
    run.store.clear_staging()
    return summary


def _commit_report(run: Run, progress: ProgressReporter) -> None:
    """The run's page, once; what the store refuses stops the run as ever, to be resumed."""
    try:
        page = run_page(run.store)
    except SluiceError:
        raise
    except Exception as error:  # the edge: a fault in drawing must not keep a run open whose rows are all there
        logging.getLogger(__name__).error("no report of %s", run.run_id, exc_info=error)
        progress.say(f"report    could not be made ({type(error).__name__}); the rows are not touched by it")
        return
    run.store.create(layout.REPORT, page)


def _started(engines: Future[Scorers | None]) -> Scorers | None:
    """The engines that were asked for, if they came: why they did not is told already, or another error is."""
    try:
        return engines.result()
    except SluiceError:
        return None


def _ask_for_engines(run: Run) -> Future[Scorers | None]:
    engines: Future[Scorers | None] = Future()
    engines.set_result(scoring.start_engines_if_needed(run))
    return engines


class _ProgressArtifact:
    """One Prefect progress bar per stage, updated at most every two seconds."""

    def __init__(self, run_id: str, metrics: MetricsArtifact) -> None:
        self._run_id, self._metrics = run_id, metrics
        self._artifacts: dict[str, UUID] = {}  # by the stage's name; some stages go on side by side
        self._updated_at: dict[str, float] = {}

    def __call__(self, stage: Stage) -> None:
        updated_at, is_last = self._updated_at.get(stage.name), stage.done == stage.total
        if updated_at is not None and not is_last and time.monotonic() - updated_at < _SECONDS_BETWEEN_UPDATES:
            return
        self._updated_at[stage.name] = time.monotonic()
        percent = 100.0 * stage.done / stage.total if stage.total else 0.0
        description = f"{self._run_id}: {stage.describe()}"
        artifact = self._artifacts.get(stage.name)
        if artifact is None:
            created = create_progress_artifact(percent, key=stage.name, description=description)
            self._artifacts[stage.name] = UUID(str(created))
        else:
            update_progress_artifact(artifact, percent, description=description)
        self._metrics.update()
