"""What is gathered of a run's rows: the same in whatever parts they come, and no larger for a larger run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from pipelines.report.html.figures import CELLS, COLUMNS, SAMPLES, Figures, TimeLine, gather, histogram
from pipelines.store.schemas import RESULTS
from tests.report.html.made_run import BEGUN, LABELS, row

ROUTES = ("accepted", "escalated", "review", "withheld", "failed")


def tables(rows: list[dict[str, Any]], size: int) -> list[pa.Table]:
    return [pa.Table.from_pylist(rows[at : at + size], RESULTS).select(COLUMNS) for at in range(0, len(rows), size)]


def facts(figures: Figures) -> dict[str, Any]:
    return vars(figures) | {"raw_prob": {kind: cells.tolist() for kind, cells in figures.raw_prob.items()}}


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_parts_of_any_size_give_the_same_figures(size: int) -> None:
    rows = [row(n, ROUTES[n % 5]) for n in range(200)]
    assert facts(gather(tables(rows, size))) == facts(gather(tables(rows, 50)))


def test_the_fates_add_up_to_the_items() -> None:
    figures = gather(tables([row(n, ROUTES[n % 5]) for n in range(103)], 10))
    assert figures.items == sum(figures.fates.values()) == 103
    assert figures.fates["escalated", True] == 21
    assert figures.fates["failed", False] == 20


def test_of_each_label_it_is_counted_what_engine_and_claude_made_of_it() -> None:
    agreed = [row(0, "escalated", answer="billing", engine_answer="billing", gold_label="billing")] * 3
    changed = [row(0, "escalated", answer="outage", engine_answer="billing", gold_label="billing")] * 2
    figures = gather(tables([*agreed, *changed, row(0, engine_answer="billing", answer="billing")], 2))
    billing = figures.labels["billing"]
    assert (billing.engine, billing.asked, billing.agreed) == (6, 5, 3)
    assert (billing.final, billing.known, billing.right) == (4, 3, 3)
    assert (figures.labels["outage"].final, figures.labels["outage"].right) == (2, 0)
    assert figures.changes == {("billing", "outage"): 2}


def test_samples_are_few_and_those_of_the_smallest_ids() -> None:
    rows = [row(n, ROUTES[n % 2]) for n in range(500)]
    sampled = gather(tables(rows, 9)).samples
    for route in ROUTES[:2]:
        ids = sorted(each["item_id"] for each in rows if each["route"] == route)
        assert [each["item_id"] for each in sampled[route]] == ids[:SAMPLES]


def test_the_time_line_of_a_long_run_stays_small_and_loses_no_item() -> None:
    line = TimeLine()
    times = [BEGUN + timedelta(seconds=second) for second in range(0, 30_000, 2)]
    line.add(pa.chunked_array([pa.array([*times, None], pa.timestamp("us", tz="UTC"))]))
    assert len(line.counts) <= 4_096
    seconds, bins = line.rebinned(48)
    assert sum(bins) == len(times)
    assert len(bins) <= 48
    assert len(bins) * seconds == pytest.approx(30_000, rel=0.1)


def test_a_histogram_holds_both_ends_and_leaves_out_what_is_missing() -> None:
    counts = histogram(pa.array([0.0, 1.0, None, 0.5], pa.float64()))
    assert (counts[0], counts[CELLS - 1], counts[CELLS // 2], counts.sum()) == (1, 1, 1, 3)


def test_a_run_without_rows_has_figures() -> None:
    figures = gather([])
    assert (figures.items, figures.labels, figures.time_line.rebinned(48)) == (0, {}, (0.0, []))
    assert set(LABELS).isdisjoint(figures.labels)
