"""Publishing: rows that are final, of the engine and of Claude, as parts of the result; each part is written once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flows.console.progress import ProgressReporter
from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.escalation.journal import ChunkState
from pipelines.escalation.ledger import Ledger
from pipelines.report.summary import Summary
from pipelines.results import REVIEWED_COLUMNS, DecidedShard, answer_rows, empty_results, shard_rows
from pipelines.store import layout
from pipelines.store.schemas import from_arrow, to_parquet

_ROWS_PER_RESULT_PART = 50_000


def read_summary(run: Run) -> Summary | None:
    """The summary of a complete run."""
    if not run.store.exists(layout.COMPLETE):
        return None
    return Summary.model_validate_json(run.store.read(layout.SUMMARY))


def _rows(run: Run, shard: int) -> DecidedShard:
    """The rows of a shard, made anew from what is committed."""
    columns = ["item_id", "document_id", "document_uri", "document_offset", "gold_label", "failure", "withheld", "note"]
    plan = from_arrow(run.store.read(layout.plan_part(shard)), columns)
    predictions = from_arrow(run.store.read(layout.predictions_part(shard))) if run.has_engine else None
    return shard_rows(run.facts, plan, predictions, run.decisions.of_shard(shard), datetime.now(UTC))


def publish_scored(run: Run, plan: PlanSummary, progress: ProgressReporter) -> None:
    """Publish every row that is final without Claude, several shards to a part."""
    with progress.stage("publish", "items"):
        for number, group in enumerate(_groups(plan)):
            key = layout.accepted_results(number)
            if run.store.exists(key):
                continue
            tables = [_rows(run, shard).settled for shard in group]
            table = pa.concat_tables([empty_results(), *tables])
            run.store.create(key, to_parquet(table))
            progress.advance(len(table))


def _groups(plan: PlanSummary) -> list[range]:
    """Shards by result part: parts of a useful size, and at least one, so that an empty run can be read too."""
    size = max(1, math.ceil(plan.shards * _ROWS_PER_RESULT_PART / max(plan.items, 1)))
    return [range(first, min(first + size, plan.shards)) for first in range(0, plan.shards, size)] or [range(0)]


def doubtful_ids(run: Run, shard: int) -> list[str]:
    """Items of a shard that go to Claude: what may leave, could be read, and was not accepted."""
    plan = from_arrow(run.store.read(layout.plan_part(shard)), ["item_id", "failure", "withheld"])
    plan = plan.filter(pc.is_null(plan["failure"]))
    is_doubtful = pc.is_null(plan["withheld"]).to_numpy()
    if run.has_engine and (decisions := run.decisions.of_shard(shard)):
        is_doubtful = is_doubtful & ~decisions.is_accepted
    ids: list[str] = plan["item_id"].filter(pa.array(is_doubtful)).to_numpy().tolist()
    return ids


def publish_chunk(
    run: Run, state: ChunkState, answers: pa.Table, settled: list[str], ledger: Ledger, model_suffix: str
) -> None:
    """Publish the rows of the items that a message batch settled; ``answers`` are all of the batch's."""
    key = layout.escalated_results(state.chunk)
    if settled and not run.store.exists(key):
        rows = _answered(run, state.draft.shards, settled, ledger, model_suffix, _verified(answers))
        run.store.create(key, to_parquet(rows))


def _verified(answers: pa.Table) -> dict[str, dict[str, Any]]:
    reviewed = answers.filter(pc.is_valid(answers["findings"])).select(["item_id", *REVIEWED_COLUMNS])
    return {row["item_id"]: row for row in reviewed.to_pylist()}


def _answered(
    run: Run,
    shards: Iterable[int],
    item_ids: list[str],
    ledger: Ledger,
    model_suffix: str,
    verified: Mapping[str, Mapping[str, Any]],
) -> pa.Table:
    wanted = pa.array(item_ids, pa.string())
    tables = [_rows(run, shard).doubtful for shard in shards]
    doubtful = pa.concat_tables([table.filter(pc.is_in(table["item_id"], value_set=wanted)) for table in tables])
    standings = [ledger.standing(item_id) for item_id in doubtful["item_id"].to_numpy().tolist()]
    return answer_rows(doubtful, standings, datetime.now(UTC), model_suffix, verified)


def publish_unsent(run: Run, plan: PlanSummary, ledger: Ledger, reason: str, model_suffix: str) -> None:
    """Publish a row for every doubtful item that no answer has settled: route `review`, with the reason."""
    for number, group in enumerate(_groups(plan)):
        key = layout.unsent_results(number)
        if run.store.exists(key):
            continue
        tables = []
        for shard in group:
            doubtful = _rows(run, shard).doubtful
            unsettled = set(ledger.unsettled(doubtful["item_id"].to_numpy().tolist()))
            rows = doubtful.filter(pc.is_in(doubtful["item_id"], value_set=pa.array(list(unsettled), pa.string())))
            standings = [
                replace(ledger.standing(item_id), label=None, reason=reason)
                for item_id in rows["item_id"].to_numpy().tolist()
            ]
            tables.append(answer_rows(rows, standings, datetime.now(UTC), model_suffix))
        table = pa.concat_tables([empty_results(), *tables])
        if len(table):
            run.store.create(key, to_parquet(table))
