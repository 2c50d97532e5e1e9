"""Copies: the rows of documents whose text is another's, once that one's row is there; each part is written once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flows.console.progress import ProgressReporter
from flows.run import Run
from flows.stages.over_http import is_over_http
from flows.stages.planning import PlanSummary
from flows.stages.publishing import groups_of_shards
from pipelines.copies import TAKEN, copy_rows
from pipelines.scored_parts import read_copies
from pipelines.store import layout
from pipelines.store.runs import result_parts
from pipelines.store.schemas import DUPLICATE_OF, read_part, to_part
from pipelines.store.side_by_side import in_order

# The rows of so many originals are in memory, some 90 MB, and read in one walk through the results.
_COPIES_AT_ONCE = 500_000

_Part = tuple[str, list[int]]


def publish_copies(run: Run, plan: PlanSummary, progress: ProgressReporter) -> None:
    """Publish a row for every copy; all others of the run are there."""
    if not plan.duplicate_items:
        return
    published, form = set(run.store.list(layout.RESULTS)), run.job.results.format
    groups = [(layout.copied_results(number, form), group) for number, group in enumerate(groups_of_shards(plan))]
    todo = [each for each in groups if each[0] not in published]
    if not todo:
        return
    with progress.stage("copies", "items", plan.duplicate_items) as stage:
        for several, item_ids in _few_at_a_time(run, todo):
            originals = _rows_of(run, item_ids)
            for key, shards in several:
                parts = list(in_order(lambda shard: read_copies(run.store, shard), shards))
                rows = copy_rows(pa.concat_tables(parts), originals, is_over_http=is_over_http(run))
                run.store.create(key, to_part(rows, form))
                stage.advance(len(rows))


def _few_at_a_time(run: Run, groups: Iterable[tuple[str, range]]) -> Iterator[tuple[list[_Part], pa.Array[Any]]]:
    """The parts that are to be, with the shards that hold their copies, and the originals of all these."""
    several: list[_Part] = []
    originals: list[pa.Array[Any]] = []
    for key, group in groups:
        named = list(in_order(lambda shard: read_copies(run.store, shard)[DUPLICATE_OF], group))
        if any(map(len, named)):
            several.append((key, [shard for shard, each in zip(group, named, strict=True) if len(each)]))
            originals += (chunk for each in named for chunk in each.chunks)
        if sum(map(len, originals)) >= _COPIES_AT_ONCE:
            yield several, pa.concat_arrays(originals).unique()
            several, originals = [], []
    if several:
        yield several, pa.concat_arrays(originals).unique()


def _rows_of(run: Run, item_ids: pa.Array[Any]) -> pa.Table:
    def read(key: str) -> pa.Table:
        table = read_part(run.store.read(key), ["item_id", *TAKEN, DUPLICATE_OF])
        is_wanted = pc.and_(pc.is_null(table[DUPLICATE_OF]), pc.is_in(table["item_id"], value_set=item_ids))
        return table.filter(is_wanted).drop_columns([DUPLICATE_OF])

    return pa.concat_tables(in_order(read, result_parts(run.store))).combine_chunks()
