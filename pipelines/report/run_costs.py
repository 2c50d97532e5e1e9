"""A run's store read for `pipeline cost RUN --compare`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial

import pyarrow as pa

from pipelines.costs.comparison import CostComparison, compare
from pipelines.costs.price_book import PriceBook
from pipelines.costs.run_figures import NEEDED_COLUMNS, FiguresTally
from pipelines.errors import InvariantError, RunNotFoundError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job_file import parse_job
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import open_store, result_parts
from pipelines.store.schemas import read_part
from pipelines.store.side_by_side import in_order

_AT_ONCE = 4


def compare_run(run: str, book: PriceBook, at: datetime) -> CostComparison:
    """A complete run beside its alternatives, from its rows.

    Raises:
        RunNotFoundError: there is none, or it is not complete.
        InvariantError: its rows do not add up to what its summary says.
    """
    store = open_store(run)
    committed = store.read_if_exists(layout.SUMMARY)
    if committed is None:
        raise RunNotFoundError(f"run '{run}' is not complete yet, so its books are open; see `pipeline status {run}`")
    summary = json.loads(committed)
    job = parse_job(store.read(layout.JOB).decode(errors="replace"), store.uri(layout.JOB))
    tally = FiguresTally(book)
    for table in _parts(store):
        tally.add(table)
    figures = tally.figures(
        held_seconds=summary["engine_held_seconds"],
        device_hour_usd=job.compute.device_hour_usd,
        is_us_inference=job.escalation is not None and job.escalation.inference_geo == "us",
        is_simulated=summary["provider"] == "simulation",
        is_over_http=isinstance(job.model, ModelEndpoint),
    )
    said = summary["cost_usd"] if summary["cost_usd"] is None else Decimal(summary["cost_usd"])
    if (figures.documents, figures.cost_usd) != (summary["items"], said):
        raise InvariantError(
            f"run {summary['run_id']}: its {figures.documents:,} rows cost {figures.cost_usd} USD, its summary says "
            f"{said} for {summary['items']:,}. Was a file of {store.uri(layout.RESULTS)} lost or added?"
        )
    return compare(figures, book, at)


def _parts(store: Store) -> Iterator[pa.Table]:
    """The needed columns of every part; a few are read ahead, and no more than those are in memory."""
    yield from in_order(partial(_read, store), result_parts(store), _AT_ONCE)


def _read(store: Store, key: str) -> pa.Table:
    return read_part(store.read(key), NEEDED_COLUMNS)
