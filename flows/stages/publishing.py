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
from flows.questions.long_documents import told_of_requests
from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.escalation.journal import ChunkState
from pipelines.escalation.ledger import Ledger
from pipelines.report.summary import Summary
from pipelines.results import REVIEWED_COLUMNS, DecidedShard, answer_rows, empty_results, shard_rows
from pipelines.scored_parts import read_scored_part
from pipelines.store import layout
from pipelines.store.schemas import to_part
from pipelines.store.side_by_side import in_order

_ROWS_PER_RESULT_PART = 50_000
# Each is some hundred megabytes while it is made.
_PARTS_AT_ONCE = 4


def read_summary(run: Run) -> Summary | None:
    """The summary of a complete run."""
    if not run.store.exists(layout.COMPLETE):
        return None
    return Summary.model_validate_json(run.store.read(layout.SUMMARY))


def _rows(run: Run, shard: int) -> DecidedShard:
    """The rows of a shard, made anew from what is committed."""
    part = run.parts.take(shard)
    return shard_rows(run.facts, part, run.decisions.of_shard(shard), datetime.now(UTC))


def publish_scored(run: Run, plan: PlanSummary, progress: ProgressReporter) -> None:
    """Publish every row that is final without Claude, several shards to a part."""
    published, form = set(run.store.list(layout.RESULTS)), run.job.results.format
    groups = [(layout.accepted_results(number, form), group) for number, group in enumerate(groups_of_shards(plan))]
    run.decisions.of_shard(0)  # read once, before several threads ask for it

    def publish(key: str, group: range) -> int:
        table = pa.concat_tables([empty_results(run.carried), *(_rows(run, shard).settled for shard in group)])
        run.store.create(key, to_part(table, form))
        return len(table)

    with progress.stage("publish", "items") as stage:
        todo = [each for each in groups if each[0] not in published]
        for rows in in_order(lambda each: publish(*each), todo, _PARTS_AT_ONCE):
            stage.advance(rows)


def groups_of_shards(plan: PlanSummary) -> list[range]:
    """Shards by result part: parts of a useful size, and at least one, so that an empty run can be read too."""
    size = max(1, math.ceil(plan.shards * _ROWS_PER_RESULT_PART / max(plan.items, 1)))
    return [range(first, min(first + size, plan.shards)) for first in range(0, plan.shards, size)] or [range(0)]


def publish_chunk(
    run: Run,
    state: ChunkState,
    answers: pa.Table,
    settled: list[str],
    ledger: Ledger,
    model_suffix: str,
    room_bytes: int,
) -> None:
    """Publish the rows of the items that a message batch settled.

    Args:
        run: of the items.
        state: of the batch.
        answers: all of the batch's.
        settled: items whose last answer this is.
        ledger: where every item stands.
        model_suffix: see `answer_rows`.
        room_bytes: of a text that was sent: of a longer one, an excerpt was.
    """
    form = run.job.results.format
    key = layout.escalated_results(state.chunk, form)
    if settled and not run.store.exists(key):
        rows = _answered(run, state.draft.shards, settled, ledger, model_suffix, _verified(answers), room_bytes)
        run.store.create(key, to_part(rows, form))


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
    room_bytes: int,
) -> pa.Table:
    wanted = pa.array(item_ids, pa.string())
    tables = list(in_order(lambda shard: _doubtful(run, shard, room_bytes), shards))
    doubtful = pa.concat_tables([table.filter(pc.is_in(table["item_id"], value_set=wanted)) for table in tables])
    standings = [ledger.standing(item_id) for item_id in doubtful["item_id"].to_numpy().tolist()]
    return answer_rows(doubtful, standings, datetime.now(UTC), model_suffix, verified)


def _doubtful(run: Run, shard: int, room_bytes: int) -> pa.Table:
    """The doubtful rows of a shard; those of long documents say what of each Claude was shown."""
    doubtful = _rows(run, shard).doubtful
    section = run.job.long_documents
    if section is None:
        return doubtful
    told = told_of_requests(section, read_scored_part(run.store, shard), room_bytes)
    pairs = zip(doubtful["reason"].to_pylist(), doubtful["item_id"].to_numpy().tolist(), strict=True)
    reasons = ["; ".join(filter(None, (reason, told.get(item_id)))) or None for reason, item_id in pairs]
    place = doubtful.schema.get_field_index("reason")
    return doubtful.set_column(place, doubtful.schema.field(place), pa.array(reasons, pa.string()))


def publish_unsent(run: Run, plan: PlanSummary, ledger: Ledger, reason: str, model_suffix: str) -> None:
    """Publish a row for every doubtful item that no answer has settled: route `review`, with the reason."""
    published, form = set(run.store.list(layout.RESULTS)), run.job.results.format
    groups = [(layout.unsent_results(number, form), group) for number, group in enumerate(groups_of_shards(plan))]
    run.decisions.of_shard(0)  # read once, before several threads ask for it

    def publish(key: str, group: range) -> None:
        rows = [_unsent(_rows(run, shard).doubtful, ledger, reason, model_suffix) for shard in group]
        table = pa.concat_tables([empty_results(run.carried), *rows])
        if len(table):
            run.store.create(key, to_part(table, form))

    todo = [each for each in groups if each[0] not in published]
    for _ in in_order(lambda each: publish(*each), todo, _PARTS_AT_ONCE):
        pass


def _unsent(doubtful: pa.Table, ledger: Ledger, reason: str, model_suffix: str) -> pa.Table:
    unsettled = ledger.unsettled(doubtful["item_id"].to_numpy().tolist())
    rows = doubtful.filter(pc.is_in(doubtful["item_id"], value_set=pa.array(list(unsettled), pa.string())))
    standings = [
        replace(ledger.standing(item_id), label=None, reason=reason) for item_id in rows["item_id"].to_numpy().tolist()
    ]
    return answer_rows(rows, standings, datetime.now(UTC), model_suffix)
