"""What a code review publishes when all its rows are there: every finding, and SARIF that says what is missing from it.

In: result rows and the plan, as committed. Out: `review/` in the run's store. Read back for `pipeline results --sarif`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.documents.code.shown import LineMap, visible
from pipelines.errors import CoverageError, RunNotFoundError
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job
from pipelines.routes import Route
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import open_store, result_parts
from pipelines.store.schemas import FINDING, from_arrow, read_part, to_arrow
from pipelines.store.side_by_side import in_order
from pipelines.tasks.code_review.evaluation import evaluate, evaluation_markdown
from pipelines.tasks.code_review.findings import Finding, FindingRow
from pipelines.tasks.code_review.fingerprints import end_column, fingerprints
from pipelines.tasks.code_review.labelled_faults import read_labelled_faults
from pipelines.tasks.code_review.publication.baseline import (
    Baseline,
    BaselineComparison,
    baseline_of_rows,
    baseline_of_sarif,
    compare,
)
from pipelines.tasks.code_review.publication.coverage import Coverage
from pipelines.tasks.code_review.publication.markdown import findings_markdown
from pipelines.tasks.code_review.publication.sarif import (
    BaselineCounts,
    ReviewedRun,
    encode_sarif,
    sarif_log,
    upload_warnings,
)
from pipelines.tasks.code_review.publication.selection import Selection, select
from pipelines.tasks.code_review.tables import findings_of, findings_table

_ROW_COLUMNS = ["item_id", "route", "findings", "dropped_findings"]
_MOST_MISSING, _MAX_REASON_CHARACTERS = 100, 500  # told of items without a whole review
_FINDING_NAMES = [field.name for field in FINDING]


class ReviewRecord(BaseModel):
    """review/summary.json: what the rows do not say of the review as a whole."""

    model_config = ConfigDict(frozen=True)

    planned_items: int
    reviewed_items: int
    unreviewed: dict[str, int]
    left_out: dict[str, int]
    findings: int
    reported: int
    dropped: int
    verification_share: float | None  # of the engines' time
    verification_cached_share: float | None  # of the tokens of its prompts
    unfinished_items: int = 0
    missing: tuple[str, ...] = ()

    @property
    def coverage(self) -> Coverage:
        """How much of the input was reviewed, and what was not."""
        return Coverage(
            self.planned_items,
            self.reviewed_items,
            self.unreviewed,
            self.left_out,
            self.unfinished_items,
            self.missing,
        )

    def as_lines(self) -> list[str]:
        """Figures of the review as lines for the console."""
        lines = [
            f"findings  {self.reported:,} reported of {self.findings:,}; {self.dropped:,} more named no shown line"
        ]
        if self.verification_share is not None and self.verification_cached_share is not None:
            lines.append(
                f"verified  in {self.verification_share:.1%} of the engines' time, "
                f"{self.verification_cached_share:.1%} of its prompts' tokens from the prefix cache"
            )
        if gap := self.coverage.gap():
            lines.append(f"coverage  {gap}")
        return lines


def publish_review(run: Run, plan: PlanSummary) -> ReviewRecord:
    """Commit what the run's rows come to; of a run that has done so, what it committed."""
    if committed := read_review(run.store):
        return committed
    result = _read_rows(run.store)
    table = findings_table(_finding_rows(run, plan, result.rows))
    run.store.create(layout.FINDINGS, to_arrow(table))
    selection = select(findings_of(table), run.job.reviews.threshold)
    record = _record(run, plan, result, table, selection)
    review = _Review(run.store, run.run_id, run.job, record)
    if record.coverage.refusal() is None:
        run.store.create(layout.SARIF, review.sarif(None)[0])
    run.store.create(layout.REVIEW_MARKDOWN, review.markdown(selection).encode())
    run.store.create(layout.REVIEW_SUMMARY, record.model_dump_json(indent=2).encode())
    return record


def read_review(store: Store) -> ReviewRecord | None:
    """What a run has published; None before that, and of other tasks."""
    committed = store.read_if_exists(layout.REVIEW_SUMMARY)
    return None if committed is None else ReviewRecord.model_validate_json(committed)


def run_sarif(run: str, baseline: str | None) -> tuple[bytes, list[str]]:
    """SARIF of a run, and warnings: what is missing from it, and what a code host will not take or show.

    Args:
        run: id or URI.
        baseline: SARIF of an earlier run, or that run: only findings that it does not know are in the log.

    Raises:
        RunNotFoundError: there is none, or it has not published yet.
        CoverageError: nothing was reviewed, or not every item has a row.
        JobError: the baseline is none.
    """
    return _open_review(run).sarif(baseline)


def run_evaluation(run: str, faults_file: str) -> str:
    """What the reported findings of a run are worth against known faults: Markdown.

    Raises:
        RunNotFoundError: there is no such run, or it has not published yet.
        JobError: the file cannot be used.
    """
    return evaluation_markdown(evaluate(_open_review(run).select().published, read_labelled_faults(faults_file)))


def _open_review(run: str) -> _Review:
    store = open_store(run)
    record = read_review(store)
    if record is None:
        raise RunNotFoundError(f"run '{run}' has no review to publish: it is another task or not complete yet")
    job = parse_job(store.read(layout.JOB).decode(errors="replace"), store.uri(layout.JOB))
    return _Review(store, store.root.rstrip("/").rsplit("/", 1)[-1], job, record)


class _Review:
    """A run that has committed its findings."""

    def __init__(self, store: Store, run_id: str, job: Job, record: ReviewRecord) -> None:
        self._store, self._run_id, self._job, self._record = store, run_id, job, record

    def select(self) -> Selection:
        """Choose the findings that are reported."""
        return select(self._findings(self._store), self._job.reviews.threshold)

    def sarif(self, baseline: str | None) -> tuple[bytes, list[str]]:
        """Make the SARIF log: its bytes, and warnings about what it leaves out."""
        coverage = self._record.coverage
        if refusal := coverage.refusal():
            raise CoverageError(refusal)
        published = self.select().published
        counts = None
        if baseline is not None:
            comparison = compare(published, self._baseline(baseline))
            published = comparison.new
            counts = BaselineCounts(*(len(part) for part in (comparison.new, comparison.unchanged, comparison.absent)))
        reviewed = ReviewedRun(
            run_id=self._run_id,
            program_version=version("sluice"),
            threshold=self._job.reviews.threshold,
            coverage=coverage,
            dropped=self._record.dropped,
        )
        log = sarif_log(published, reviewed, counts)
        encoded = encode_sarif(log)
        gap = coverage.gap()
        return encoded, [*([gap] if gap else []), *upload_warnings(log, encoded)]

    def markdown(self, selection: Selection, comparison: BaselineComparison | None = None) -> str:
        """Write the summary for people as Markdown."""
        return findings_markdown(
            self._job.name,
            selection,
            self._record.coverage,
            threshold=self._job.reviews.threshold,
            dropped=self._record.dropped,
            comparison=comparison,
        )

    def _baseline(self, place: str) -> Baseline:
        if Path(place).is_file():
            return baseline_of_sarif(Path(place).read_bytes(), place)
        store = open_store(place)
        if read_review(store) is None:
            raise RunNotFoundError(f"run '{place}' has no review to compare with: it is another task or not complete")
        return baseline_of_rows(select(self._findings(store), self._job.reviews.threshold).published)

    @staticmethod
    def _findings(store: Store) -> Iterator[FindingRow]:
        return findings_of(from_arrow(store.read(layout.FINDINGS)))


@dataclass(frozen=True)
class _ResultRows:
    """The rows of a run, columns `_ROW_COLUMNS`, and what is to be told of those without a whole review."""

    rows: pa.Table
    unfinished_items: int
    missing: tuple[str, ...]


def _read_rows(store: Store) -> _ResultRows:
    parts: list[pa.Table] = []
    missing: list[str] = []
    unfinished = 0
    for key in result_parts(store):
        part = read_part(store.read(key), [*_ROW_COLUMNS, "document_id", "reason", "engine_answer"])
        parts.append(part.select(_ROW_COLUMNS))
        is_reviewed = pc.is_valid(part["findings"])
        # The engine gives a verdict with every review that came to its end; Claude's stand as escalated.
        is_answered = pc.or_(
            pc.is_valid(part["engine_answer"]), pc.equal(part["route"], pa.scalar(str(Route.ESCALATED)))
        )
        unfinished += len(part.filter(pc.and_not(is_reviewed, is_answered)))
        told = part.filter(pc.invert(pc.and_(is_reviewed, is_answered))).select(["document_id", "reason"])
        missing += [_told(**row) for row in told.slice(0, _MOST_MISSING - len(missing)).to_pylist()]
    return _ResultRows(pa.concat_tables(parts), unfinished, tuple(missing))


def _told(document_id: str, reason: str | None) -> str:
    """The item and why it has no whole review; a failed document's reason names it already."""
    reason = reason or "no answer that could be read"
    text = reason if reason.startswith(document_id) else f"{document_id}: {reason}"
    return visible(text)[:_MAX_REASON_CHARACTERS]


def _finding_rows(run: Run, plan: PlanSummary, rows: pa.Table) -> Iterator[FindingRow]:
    """Oldest item first, so that of a finding in several commits the newest stands; a walk begins with the newest."""
    has_findings = pc.greater(pc.list_value_length(rows["findings"]), pa.scalar(0))
    found = {row["item_id"]: row for row in rows.filter(has_findings).to_pylist()}
    is_newest_first = run.job.reviews.revisions is not None
    for shard in reversed(range(plan.shards)) if is_newest_first else range(plan.shards):
        part = from_arrow(run.store.read(layout.plan_part(shard)), columns=["item_id", "document_id", "text"])
        items = part.filter(pc.is_in(part["item_id"], value_set=pa.array(found, pa.string()))).to_pylist()
        for item in reversed(items) if is_newest_first else items:
            yield from _of_item(run.job, item, found[item["item_id"]])


def _of_item(job: Job, item: dict[str, Any], row: dict[str, Any]) -> Iterator[FindingRow]:
    lines = LineMap.of(item["text"])
    findings = [Finding(**{name: given[name] for name in _FINDING_NAMES}) for given in row["findings"]]
    is_repository = job.reviews.revisions or job.reviews.tree
    named = fingerprints(findings, lines)
    for finding, given, fingerprint in zip(findings, row["findings"], named, strict=True):
        yield FindingRow(
            item_id=item["item_id"],
            document_id=item["document_id"],
            repository=job.input if is_repository else None,
            finding=finding,
            end_column=end_column(finding, lines),
            fingerprint=fingerprint,
            raw_prob=given["raw_prob"],
            confidence=given["confidence"],
            route=row["route"],
        )


def _record(run: Run, plan: PlanSummary, result: _ResultRows, findings: pa.Table, selection: Selection) -> ReviewRecord:
    rows = result.rows
    unreviewed = rows.filter(pc.is_null(rows["findings"]))
    shares = _verification(run, plan)
    return ReviewRecord(
        planned_items=plan.items,
        reviewed_items=len(rows) - len(unreviewed),
        unreviewed=dict(sorted(Counter(unreviewed["route"].to_numpy().tolist()).items())),
        left_out=plan.left_out,
        findings=len(findings),
        reported=len(selection.published),
        dropped=pc.sum(rows["dropped_findings"]).as_py() or 0,
        verification_share=shares[0],
        verification_cached_share=shares[1],
        unfinished_items=result.unfinished_items,
        missing=result.missing,
    )


def _verification(run: Run, plan: PlanSummary) -> tuple[float | None, float | None]:
    """Share of engine time, and of its prompts' tokens that came from the cache."""
    names = [
        "verification_nanoseconds",
        "device_nanoseconds",
        "verification_cached_tokens",
        "verification_input_tokens",
    ]
    sums = dict.fromkeys(names, 0)
    shards = range(plan.shards if run.has_engine else 0)
    for part in in_order(lambda shard: read_scored_part(run.store, shard), shards):
        table = predictions_of(part)
        for name in set(names) & set(table.column_names):  # a first tier over HTTP tells no times
            sums[name] += pc.sum(table[name]).as_py() or 0
    pairs = ((sums[part], sums[whole]) for part, whole in (names[:2], names[2:]))
    time_share, cached_share = (part / whole if whole else None for part, whole in pairs)
    return time_share, cached_share
