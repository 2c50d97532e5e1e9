"""The row of a document that was read in windows: how many, what they cost together, and no borrowed confidence."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pyarrow as pa

from pipelines.cascade.confidence import Calibration
from pipelines.escalation.ledger import Standing
from pipelines.results import answer_rows
from pipelines.store.schemas import WINDOW_ORDER, WINDOWED_PREDICTIONS
from tests.results_case import threshold_rows
from tests.test_results import FACTS, NOW, columns, plan, predictions

CALIBRATION = Calibration(
    method="temperature", temperature=2.0, fitted_on=9, prompt_fingerprint="", labels=(), model_sha256=""
)


def windowed(orders: dict[int, list[int] | None], share: float = 0.95) -> pa.Table:
    scored = predictions(dict.fromkeys(orders, share))
    return scored.append_column(
        WINDOWED_PREDICTIONS.field(WINDOW_ORDER), pa.array(orders.values(), pa.list_(pa.int32()))
    )


def test_a_row_says_in_how_many_windows_its_document_was_read() -> None:
    notes = {0: "read in 3 windows of up to 100 tokens"}
    table = plan(None, "in/a.jsonl:1: is empty", None, notes=notes)
    rows = threshold_rows(FACTS, table, windowed({0: [2, 0, 1], 2: None}), NOW).rows
    assert columns(rows, "windows") == [3, None, None]
    assert columns(rows, "route", "reason") == [
        ("accepted", notes[0]),
        ("failed", "in/a.jsonl:1: is empty"),
        ("accepted", None),
    ]


def test_it_says_so_too_where_claude_gave_no_answer() -> None:
    note = "read in 3 windows of up to 100 tokens"
    doubtful = threshold_rows(FACTS, plan(None, notes={0: note}), windowed({0: [2, 0, 1]}, 0.6), NOW).doubtful
    unanswered = Standing(label=None, reason="Claude declined", model=None, cost_usd=Decimal(0))
    assert columns(answer_rows(doubtful, [unanswered], NOW), "reason") == [f"Claude declined; {note}"]


def test_without_windows_the_column_is_empty() -> None:
    rows = threshold_rows(FACTS, plan(None), predictions({0: 0.95}), NOW).rows
    assert columns(rows, "windows") == [None]


def test_the_models_own_calibration_says_nothing_of_an_answer_that_windows_gave() -> None:
    facts = replace(FACTS, calibration=CALIBRATION)
    rows = threshold_rows(facts, plan(None, None), windowed({0: [0, 1], 1: None}), NOW).rows
    of_windows, at_once = columns(rows, "confidence")
    assert of_windows is None
    assert 0.5 < at_once < 0.95
