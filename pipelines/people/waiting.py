"""The items of a complete run that a person decides: what is shown of each, in the order of the documents.

Rows are few columns of each item that waits; texts are read a shard at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.cascade.confidence import softmax
from pipelines.errors import RunNotFoundError
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job
from pipelines.people.answers import ROUTES_OF_PEOPLE, Answer, Answers
from pipelines.predictions import read_predictions
from pipelines.routes import Route
from pipelines.scored_parts import predictions_of
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import open_store, question_stores, result_parts
from pipelines.store.schemas import DUPLICATE_OF, from_arrow, read_part
from pipelines.store.side_by_side import in_order

_COLUMNS = ("item_id", "document_id", "document_uri", "route", "reason", "engine_answer", "raw_prob", "findings")
_LIKELIEST = 3
_SHOWN_QUESTIONS = 3


@dataclass(frozen=True)
class Waiting:
    """An item that waits, as a person is shown it."""

    item_id: str
    document_id: str
    document_uri: str
    reason: str | None
    text: str
    engine_answer: str | None
    raw_prob: float | None
    engine_says: str  # the likeliest labels with their share; empty where no engine has seen it
    findings: tuple[str, ...] = ()  # of a code review: where, how bad, what
    answered: Answer | None = None


@dataclass(frozen=True)
class AskedRun:
    """A complete run, about which people are asked."""

    store: Store
    run_id: str
    key: str  # the run's name and a digest of what it was begun with: what a file of its items must name
    job: Job
    answers: Answers = field(repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """What may be answered."""
        return tuple(self.job.labels)

    @cached_property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Of every item that a person decides, the columns that say why; a copy is decided with its original."""
        found: dict[str, dict[str, Any]] = {}
        routes = pa.array(map(str, ROUTES_OF_PEOPLE), pa.string())
        for key in result_parts(self.store):
            part = read_part(self.store.read(key), [*_COLUMNS, DUPLICATE_OF])
            part = part.filter(pc.and_(pc.is_in(part["route"], value_set=routes), pc.is_null(part[DUPLICATE_OF])))
            found |= {row["item_id"]: row for row in part.select(_COLUMNS).to_pylist()}
        return found

    def chosen(self, *, with_withheld: bool, with_answered: bool) -> list[str]:
        """Items to ask about: those in `review` without an answer, and more where they are asked for."""
        return [
            item_id
            for item_id, row in self.rows.items()
            if (with_withheld or row["route"] == Route.REVIEW)
            and (with_answered or item_id not in self.answers.by_item)
        ]

    def by_shard(self, chosen: Collection[str]) -> list[tuple[int, list[str]]]:
        """The items by shard, as the documents were read."""
        wanted = pa.array(sorted(chosen), pa.string())
        parts = [key for key in self.store.list(layout.PLAN) if key.endswith(".arrow")] if chosen else []
        shards = sorted(map(layout.shard_of, parts))
        found = []
        for shard, ids in zip(shards, in_order(self._ids, shards), strict=True):
            own: list[str] = ids.filter(pc.is_in(ids, value_set=wanted)).to_numpy().tolist()
            if own:
                found.append((shard, own))
        return found

    def _ids(self, shard: int) -> pa.ChunkedArray[Any]:
        """From the part without texts, where there is one of every item: runs of format 2 have none."""
        part = self.store.read_if_exists(layout.predictions_part(shard))
        if part is None or "document_id" not in pa.ipc.open_file(part).schema.names:
            part = self.store.read(layout.plan_part(shard))
        return from_arrow(part, ["item_id"])["item_id"]

    def items(self, shard: int, item_ids: Collection[str]) -> list[Waiting]:
        """What is shown of some items of a shard, in their order."""
        plan = from_arrow(self.store.read(layout.plan_part(shard)), ["item_id", "text"])
        plan = plan.filter(pc.is_in(plan["item_id"], value_set=pa.array(item_ids, pa.string())))
        said = self._engine_says(shard, item_ids)
        return [
            self._shown(item["item_id"], item["text"] or "", said.get(item["item_id"], "")) for item in plan.to_pylist()
        ]

    def all_items(self, chosen: Collection[str]) -> Iterator[Waiting]:
        """The same of all chosen items; one shard is in memory at a time."""
        for shard, item_ids in self.by_shard(chosen):
            yield from self.items(shard, item_ids)

    def _shown(self, item_id: str, text: str, engine_says: str) -> Waiting:
        row = self.rows[item_id]
        return Waiting(
            item_id=item_id,
            document_id=row["document_id"],
            document_uri=row["document_uri"],
            reason=row["reason"],
            text=text,
            engine_answer=row["engine_answer"],
            raw_prob=row["raw_prob"],
            engine_says=engine_says or row["engine_answer"] or "",
            findings=tuple(finding_line(each) for each in row["findings"] or ()),
            answered=self.answers.by_item.get(item_id),
        )

    def _engine_says(self, shard: int, item_ids: Collection[str]) -> dict[str, str]:
        part = self.store.read_if_exists(layout.predictions_part(shard))
        if part is None:
            return {}
        table = from_arrow(part)
        predictions = predictions_of(table) if "document_id" in table.column_names else table  # as in format 2
        own = predictions.filter(pc.is_in(predictions["item_id"], value_set=pa.array(item_ids, pa.string())))
        if not len(own):
            return {}
        predicted = read_predictions(own, self.labels, None)
        shares = softmax(predicted.logprobs)
        ranked = (-shares).argsort(axis=1, kind="stable")[:, :_LIKELIEST].tolist()
        return {
            item_id: "" if failure else ", ".join(f"{self.labels[place]} {row[place]:.2f}" for place in places)
            for item_id, row, places, failure in zip(
                own["item_id"].to_numpy().tolist(), shares, ranked, predicted.failures, strict=True
            )
        }


def finding_line(finding: dict[str, Any]) -> str:
    """On one line, such as `src/price.py:12 high off-by-one: The last one is left out`."""
    line, end = finding["line"], finding["end_line"]
    place = f"{line}-{end}" if end and end != line else f"{line}"
    return f"{finding['path']}:{place} {finding['severity']} {finding['category']}: {finding['message']}"


def open_asked(run: str) -> AskedRun:
    """Open a run to ask people about it.

    Raises:
        RunNotFoundError: there is none, or it is not complete: more of its items may be answered yet.
    """
    store = open_store(run)
    if questions := question_stores(store):
        named = [each.root if "/" in run else f"{run}.{each.question}" for each in questions[:_SHOWN_QUESTIONS]]
        raise RunNotFoundError(
            f"run '{run}' asks several questions: name the one that people are to answer, such as {' or '.join(named)}"
        )
    if not store.exists(layout.COMPLETE):
        raise RunNotFoundError(
            f"run '{run}' is not complete yet: Claude may still answer what would be left to a person; "
            f"see `pipeline status {run}`"
        )
    record = store.read(layout.RUN)
    run_id = str(json.loads(record)["run_id"])
    return AskedRun(
        store=store,
        run_id=run_id,
        key=f"{run_id}@{hashlib.sha256(record).hexdigest()[:12]}",
        job=parse_job(store.read(layout.JOB).decode(errors="replace"), store.uri(layout.JOB)),
        answers=Answers(store),
    )
