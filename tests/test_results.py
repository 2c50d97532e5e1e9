"""From plan, predictions and answers to result rows: one item, one row, one route, and what it cost."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cascade.confidence import Calibration
from pipelines.cascade.decisions import Decisions
from pipelines.costs.accounting import device_cost, sum_money
from pipelines.errors import InvariantError
from pipelines.escalation.ledger import Standing
from pipelines.results import ROUTES, DecidedShard, RunFacts, answer_rows, empty_results, shard_rows
from pipelines.scored_parts import items_of, scored_part
from pipelines.store.schemas import PLAN, PREDICTIONS, RESULTS
from tests.results_case import threshold_rows

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
HOUR_USD = Decimal("2.50")
FACTS = RunFacts(
    run_id="run_1",
    task="classification",
    labels=("billing", "outage"),
    model="starter",
    model_revision="sha256-00",
    device_hour_usd=HOUR_USD,
    calibration=None,
    raw_threshold=0.8,
    is_escalating=True,
)
ENGINE_NANOSECONDS = 5_000_000
ENGINE_COST = device_cost(ENGINE_NANOSECONDS, HOUR_USD)
HELD = "raw_prob x label_mass = 0.6000 (0.6000 x 1.0000) under 0.8 and escalation is off"


def plan(*failures: str | None, notes: dict[int, str] | None = None) -> pa.Table:
    rows = [
        {
            "item_id": f"itm_{number}",
            "document_id": f"doc-{number}",
            "document_uri": "in/a.jsonl",
            "document_offset": number,
            "text": None if failure else "text",
            "gold_label": "billing",
            "failure": failure,
            "note": (notes or {}).get(number),
        }
        for number, failure in enumerate(failures)
    ]
    return pa.Table.from_pylist(rows, schema=PLAN)


def predictions(shares: dict[int, float], nanoseconds: int = ENGINE_NANOSECONDS) -> pa.Table:
    """Probability of the first label, by the item's number."""
    rows = [
        {
            "item_id": f"itm_{number}",
            "label_logprobs": np.log([share, 1 - share]).tolist(),
            "input_tokens": 100,
            "cached_tokens": 60,
            "output_tokens": 1,
            "device_nanoseconds": nanoseconds,
            "scored_at": NOW,
        }
        for number, share in shares.items()
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


def decide(facts: RunFacts = FACTS, notes: dict[int, str] | None = None) -> DecidedShard:
    """Item 0 is sure, 1 failed, 2 is doubtful, 3 is sure of the other label."""
    table = plan(None, "in/a.jsonl:1: is empty", None, None, notes=notes)
    return threshold_rows(facts, table, predictions({0: 0.95, 2: 0.6, 3: 0.1}), NOW)


def columns(table: pa.Table, *names: str) -> list[Any]:
    rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    return [row[0] for row in rows] if len(names) == 1 else rows


def test_every_item_has_one_row_in_order_of_the_results_schema() -> None:
    decided = decide()
    assert decided.rows.schema.equals(RESULTS, check_metadata=True)
    assert columns(decided.rows, "item_id") == ["itm_0", "itm_1", "itm_2", "itm_3"]
    assert decided.is_doubtful.tolist() == [False, False, True, False]
    assert columns(decided.settled, "item_id") == ["itm_0", "itm_1", "itm_3"]
    assert columns(decided.doubtful, "item_id") == ["itm_2"]


def test_an_accepted_row_says_everything() -> None:
    (row, *_) = decide().rows.to_pylist()
    assert row["raw_prob"] == pytest.approx(0.95)
    assert row["label_mass"] == pytest.approx(1.0)
    del row["raw_prob"], row["label_mass"]
    assert {name: value for name, value in row.items() if value is not None} == {
        "item_id": "itm_0",
        "document_id": "doc-0",
        "document_uri": "in/a.jsonl",
        "document_offset": 0,
        "task": "classification",
        "answer": "billing",
        "engine_answer": "billing",
        "route": "accepted",
        "model": "starter",
        "model_revision": "sha256-00",
        "input_tokens": 100,
        "cached_tokens": 60,
        "output_tokens": 1,
        "gpu_seconds": 0.005,
        "gpu_cost_usd": ENGINE_COST,
        "api_cost_usd": 0,
        "cost_usd": ENGINE_COST,
        "run_id": "run_1",
        "scored_at": NOW,
        "settled_at": NOW,
        "gold_label": "billing",
    }


def test_answers_and_routes() -> None:
    assert columns(decide().rows, "route", "answer", "engine_answer") == [
        ("accepted", "billing", "billing"),
        ("failed", None, None),
        ("review", None, "billing"),
        ("accepted", "outage", "outage"),
    ]
    assert set(columns(decide().rows, "route")) <= set(ROUTES)


def test_a_failed_row_says_why_and_costs_nothing() -> None:
    row = decide().rows.to_pylist()[1]
    assert row["reason"] == "in/a.jsonl:1: is empty"
    assert (row["gpu_cost_usd"], row["api_cost_usd"], row["cost_usd"], row["gpu_seconds"]) == (0, 0, 0, 0.0)
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (0, 0, 0)
    assert (row["raw_prob"], row["label_mass"], row["confidence"], row["model"], row["scored_at"]) == (None,) * 5


def test_without_escalation_doubtful_rows_are_held_for_review_and_say_so() -> None:
    decided = decide(replace(FACTS, is_escalating=False), notes={2: "cut: x", 3: "cut: y"})
    assert not decided.is_doubtful.any()
    assert columns(decided.settled, "route", "reason") == [
        ("accepted", None),
        ("failed", "in/a.jsonl:1: is empty"),
        ("review", f"{HELD}; cut: x"),
        ("accepted", "cut: y"),
    ]
    assert columns(decide(replace(FACTS, is_escalating=False)).rows, "reason")[2] == HELD


def test_a_sure_answer_that_the_engine_hardly_wanted_to_give_says_what_was_compared() -> None:
    table = predictions({0: 0.9})
    logprobs = pa.array([np.log([0.938 * 0.9, 0.062 * 0.9]).tolist()], PREDICTIONS.field("label_logprobs").type)
    table = table.set_column(1, PREDICTIONS.field("label_logprobs"), logprobs)
    facts = replace(FACTS, is_escalating=False, raw_threshold=0.9)
    (row,) = threshold_rows(facts, plan(None), table, NOW).rows.to_pylist()
    assert row["raw_prob"] == pytest.approx(0.938)
    assert re.fullmatch(
        r"raw_prob x label_mass = 0\.844[12] \(0\.93(80|79) x 0\.(9000|8999)\) under 0\.9 and escalation is off",
        row["reason"],
    )


def test_what_is_a_hair_under_the_threshold_does_not_look_like_it() -> None:
    facts = replace(FACTS, is_escalating=False, raw_threshold=0.9)
    (row,) = threshold_rows(facts, plan(None), predictions({0: 0.89999}), NOW).rows.to_pylist()
    assert row["reason"].startswith("raw_prob x label_mass = 0.8999 (0.9000 x ")


def test_without_a_device_price_costs_are_unknown_not_nothing() -> None:
    rows = decide(replace(FACTS, device_hour_usd=None)).rows
    assert columns(rows, "gpu_cost_usd", "cost_usd") == [(None, None), (0, 0), (None, None), (None, None)]
    assert columns(rows, "api_cost_usd") == [0, 0, 0, 0]
    assert columns(rows, "gpu_seconds") == [0.005, 0.0, 0.005, 0.005]


def test_confidence_is_calibrated_or_null() -> None:
    assert columns(decide().rows, "confidence") == [None] * 4
    calibration = Calibration(
        method="temperature", temperature=2.0, fitted_on=9, prompt_fingerprint="", labels=(), model_sha256=""
    )
    confidences = columns(decide(replace(FACTS, calibration=calibration)).rows, "confidence")
    odds = (0.95 / 0.05) ** 0.5
    assert confidences[0] == pytest.approx(odds / (1 + odds), abs=1e-6)
    assert confidences[1] is None


@pytest.mark.parametrize("temperature", [1.0, 2.0, None])
def test_under_a_target_the_labels_of_the_run_itself_say_how_sure_an_answer_is(temperature: float | None) -> None:
    part = scored_part(items_of(plan(None, None)), predictions({0: 0.95, 1: 0.6}))
    decisions = Decisions(np.array([True, False]), temperature)
    shown = columns(shard_rows(replace(FACTS, raw_threshold=None), part, decisions, NOW).rows, "confidence")
    if temperature is None:
        assert shown == [None, None]
        return
    odds = [(share / (1 - share)) ** (1 / temperature) for share in (0.95, 0.6)]
    assert shown == [pytest.approx(each / (1 + each), abs=1e-6) for each in odds]


MISMATCHES = {
    "one too few": {0: 0.9, 2: 0.9},
    "one too many": {0: 0.9, 1: 0.9, 2: 0.9, 3: 0.9},
    "another order": {0: 0.9, 3: 0.9, 2: 0.9},
    "another item": {0: 0.9, 2: 0.9, 7: 0.9},
    "none": {},
}


@pytest.mark.parametrize("shares", MISMATCHES.values(), ids=MISMATCHES)
def test_predictions_of_another_plan_are_refused(shares: dict[int, float]) -> None:
    with pytest.raises(InvariantError) as caught:
        threshold_rows(FACTS, plan(None, "broken", None, None), predictions(shares), NOW)
    assert str(caught.value) == "predictions are not about the items of their shard; please report this"


def test_decisions_of_another_run_are_refused() -> None:
    part = scored_part(items_of(plan(None, None)), predictions({0: 0.9, 1: 0.9}))
    with pytest.raises(InvariantError, match="decisions are not about the items of run run_1"):
        shard_rows(FACTS, part, Decisions(np.array([True])), NOW)


def test_a_shard_of_failures_only_and_an_empty_one() -> None:
    decided = threshold_rows(FACTS, plan("a", "b"), predictions({}), NOW)
    assert columns(decided.rows, "route", "reason") == [("failed", "a"), ("failed", "b")]
    assert threshold_rows(FACTS, plan(), predictions({}), NOW).rows.equals(empty_results())


ITEM = st.none() | st.floats(0.01, 0.99)


@given(st.lists(ITEM, max_size=20), st.floats(0.01, 1.0), st.booleans(), st.integers(0, 10**12))
def test_rows_settled_and_doubtful_are_the_plan(
    items: list[float | None], threshold: float, is_escalating: bool, nanoseconds: int
) -> None:
    facts = replace(FACTS, raw_threshold=threshold, is_escalating=is_escalating)
    shares = {number: share for number, share in enumerate(items) if share is not None}
    table = plan(*("broken" if share is None else None for share in items))
    decided = threshold_rows(facts, table, predictions(shares, nanoseconds), NOW)
    assert len(decided.settled) + len(decided.doubtful) == len(items)
    assert set(columns(decided.doubtful, "route")) <= {"review"}
    for row in decided.rows.to_pylist():
        assert (row["route"] == "accepted") == (row["answer"] is not None)
        assert row["cost_usd"] == row["gpu_cost_usd"] + row["api_cost_usd"]
        if row["route"] in ("failed", "review") and not is_escalating:
            assert row["reason"]
    assert sum_money(decided.rows["gpu_cost_usd"]) == device_cost(nanoseconds, HOUR_USD) * len(shares)


ANSWERED = Standing(
    attempts=1,
    is_settled=True,
    label="outage",
    model="claude-haiku-5-5",
    cost_usd=Decimal("0.000123456789"),
    input_tokens=1_423,
    cached_tokens=400,
    output_tokens=17,
)
UNANSWERED = replace(ANSWERED, label=None, reason="Claude refused to answer")


def answer(standing: Standing, facts: RunFacts = FACTS, notes: dict[int, str] | None = None) -> dict[str, Any]:
    """The row of item 2, the doubtful one."""
    table = answer_rows(decide(facts, notes).doubtful, [standing], LATER, " (simulation)")
    assert table.schema.equals(RESULTS, check_metadata=True)
    (row,) = table.to_pylist()
    return dict(row)


def test_an_answered_item_is_escalated_and_costs_engine_and_claude_together() -> None:
    row = answer(ANSWERED)
    assert (row["item_id"], row["route"], row["answer"], row["engine_answer"], row["reason"]) == (
        "itm_2",
        "escalated",
        "outage",
        "billing",
        None,
    )
    assert (row["model"], row["model_revision"]) == ("claude-haiku-5-5 (simulation)", None)
    assert (row["api_input_tokens"], row["api_cached_tokens"], row["api_output_tokens"]) == (1_423, 400, 17)
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (100, 60, 1)
    assert row["gpu_cost_usd"] == ENGINE_COST
    assert row["api_cost_usd"] == Decimal("0.000123456789")
    assert row["cost_usd"] == ENGINE_COST + Decimal("0.000123456789")
    assert (row["confidence"], row["raw_prob"]) == (None, pytest.approx(0.6))
    assert (row["scored_at"], row["settled_at"]) == (NOW, LATER)


def test_an_item_claude_could_not_answer_is_held_for_review_with_the_reason_and_its_cost() -> None:
    row = answer(UNANSWERED)
    assert (row["route"], row["answer"], row["reason"]) == ("review", None, "Claude refused to answer")
    assert (row["api_cost_usd"], row["api_input_tokens"]) == (Decimal("0.000123456789"), 1_423)


def test_a_note_about_the_text_stays() -> None:
    row = answer(ANSWERED, notes={2: "cut: x"})
    assert (row["route"], row["reason"]) == ("escalated", "cut: x")


def test_an_item_that_claude_never_read_has_no_tokens_no_model_and_no_cost() -> None:
    row = answer(Standing(reason="budget: too small"))
    assert (row["route"], row["reason"], row["model"]) == ("review", "budget: too small", None)
    assert (row["api_input_tokens"], row["api_cached_tokens"], row["api_output_tokens"]) == (None, None, None)
    assert (row["api_cost_usd"], row["cost_usd"]) == (0, ENGINE_COST)


def test_an_unknown_part_makes_the_row_unknown() -> None:
    row = answer(replace(ANSWERED, cost_usd=None))
    assert (row["gpu_cost_usd"], row["api_cost_usd"], row["cost_usd"]) == (ENGINE_COST, None, None)
    row = answer(ANSWERED, replace(FACTS, device_hour_usd=None))
    assert (row["gpu_cost_usd"], row["cost_usd"]) == (None, None)


def test_as_many_answers_as_items_or_none() -> None:
    with pytest.raises(ValueError, match="zip"):
        answer_rows(decide().doubtful, [ANSWERED, ANSWERED], LATER)
    assert answer_rows(empty_results(), [], LATER).equals(empty_results())


def test_withheld_items_are_neither_doubtful_nor_asked_about() -> None:
    table = plan(None, None)
    table = table.set_column(table.column_names.index("withheld"), PLAN.field("withheld"), pa.array(["pii", "pii"]))
    decided = threshold_rows(FACTS, table, predictions({0: 0.95, 1: 0.6}), NOW)
    assert columns(decided.rows, "route", "reason") == [("accepted", None), ("withheld", "pii")]
    assert not decided.is_doubtful.any()
