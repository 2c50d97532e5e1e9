"""What a complete run's store says of it: all that its page needs, in bounded memory.

Nothing is told that is not committed. Text of documents is read only where it is asked for, and then of the sampled
items and the shown findings alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.adapting.chain import ToldChain
from pipelines.errors import StoreError
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job
from pipelines.people.answers import Answer, Answers
from pipelines.report.html.figures import COLUMNS, Figures, gather
from pipelines.report.summary import Summary
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import result_parts
from pipelines.store.schemas import DUPLICATE_OF, from_arrow, read_part
from pipelines.store.side_by_side import in_order
from pipelines.tasks.code_review.findings import FindingRow
from pipelines.tasks.code_review.publication.selection import select
from pipelines.tasks.code_review.tables import findings_of

_SHOWN_FINDINGS = 300
# Each is some ten megabytes.
_PARTS_AT_ONCE = 3


@dataclass(frozen=True)
class ReviewFacts:
    """Findings of a code review: how many of each kind, the worst of them, and what was kept back or missed."""

    record: dict[str, Any]
    published: int
    by_kind: Counter[tuple[str, str]]  # category, severity
    shown: tuple[FindingRow, ...]
    withheld: dict[str, int]


@dataclass(frozen=True)
class Batches:
    """Message batches that were sent, and how many of them had to be sent again."""

    sent: int = 0
    again: int = 0


@dataclass(frozen=True)
class ReportedRun:
    """One run, as its page is made from it."""

    job: Job
    job_text: str
    record: dict[str, Any]  # run.json
    summary: Summary
    summary_text: str
    figures: Figures
    batches: Batches
    review: ReviewFacts | None
    texts: dict[str, str] | None = field(repr=False)  # by item; None where they were not asked for
    answers: Mapping[str, Answer] = field(default_factory=dict, repr=False)  # of people, by item
    adapters: ToldChain | None = None  # of a series that trains its own


def read_run(store: Store, with_texts: bool = False) -> ReportedRun:
    """Read a run that has its summary.

    Raises:
        StoreError: something of it is missing or cannot be read.
        JobError: its job is one that this version refuses.
    """
    summary_text = store.read(layout.SUMMARY).decode()
    job_text = store.read(layout.JOB).decode(errors="replace")
    job = parse_job(job_text, store.uri(layout.JOB))
    figures = gather(_result_parts(store))
    summary = Summary.model_validate_json(summary_text)
    if figures.items != summary.items:
        raise StoreError(
            f"'{store.uri(layout.RESULTS)}' holds {figures.items:,} rows and the summary tells of {summary.items:,}: "
            "parts were added or deleted; a report of them would be wrong"
        )
    review = _review(store, job)
    return ReportedRun(
        job=job,
        job_text=job_text,
        record=json.loads(store.read(layout.RUN)),
        summary=summary,
        summary_text=summary_text,
        figures=figures,
        batches=_batches(store),
        review=review,
        texts=_texts(store, _wanted(figures, review)) if with_texts else None,
        answers=Answers(store).by_item,
        adapters=_adapters(store) if job.adapt else None,
    )


def _adapters(store: Store) -> ToldChain | None:
    """None of a run that is none of a series."""
    told = store.read_if_exists(layout.ADAPTERS)
    return None if told is None else ToldChain.model_validate_json(told)


def _result_parts(store: Store) -> Iterator[pa.Table]:
    """Part after part, the next ones read while one is counted."""
    return in_order(lambda key: read_part(store.read(key), COLUMNS), result_parts(store), _PARTS_AT_ONCE)


def _batches(store: Store) -> Batches:
    sends = Counter(key.rsplit("/", 2)[-2] for key in store.list(layout.ESCALATIONS) if "/submitted-" in key)
    return Batches(len(sends), sum(sends.values()) - len(sends))


def _review(store: Store, job: Job) -> ReviewFacts | None:
    record = store.read_if_exists(layout.REVIEW_SUMMARY)
    if record is None or job.review is None:
        return None
    selection = select(findings_of(from_arrow(store.read(layout.FINDINGS))), job.review.threshold)
    kinds = Counter((row.finding.category, str(row.finding.severity)) for row in selection.published)
    return ReviewFacts(
        record=json.loads(record),
        published=len(selection.published),
        by_kind=kinds,
        shown=selection.published[:_SHOWN_FINDINGS],
        withheld={str(why): number for why, number in selection.withheld.items()},
    )


def _wanted(figures: Figures, review: ReviewFacts | None) -> set[str]:
    sampled = {original_of(row) for rows in figures.samples.values() for row in rows}
    return sampled | {row.item_id for row in (review.shown if review else ())}


def original_of(row: Mapping[str, Any]) -> str:
    """Id of the item that has the text of a row: of a copy, its original."""
    return str(row[DUPLICATE_OF] or row["item_id"])


def _texts(store: Store, wanted: Collection[str]) -> dict[str, str]:
    """Of some items, from the plan: a part at a time, and no further than needed."""
    found: dict[str, str] = {}
    missing = set(wanted)
    for key in sorted(store.list(layout.PLAN)):
        if not missing:
            break
        if not key.endswith(".arrow"):
            continue
        part = from_arrow(store.read(key), ["item_id", "text"])
        rows = part.filter(pc.is_in(part["item_id"], value_set=pa.array(sorted(missing), pa.string())))
        found |= {row["item_id"]: row["text"] for row in rows.to_pylist() if row["text"] is not None}
        missing -= set(rows["item_id"].to_pylist())
    return found
