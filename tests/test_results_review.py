"""Result rows of a code review: the verdict, the findings behind it, and what becomes of a review nobody can read."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.cascade.decisions import Decisions
from pipelines.documents.code.records import Change, CodeFile, CodeLine, Hunk
from pipelines.documents.code.shown import LineMap
from pipelines.escalation.endings import Ending, Given, RowVerdict, judge
from pipelines.escalation.ledger import Standing
from pipelines.escalation.provider import ItemResult
from pipelines.escalation.review_answers import review_reader
from pipelines.results import RunFacts, answer_rows, shard_rows
from pipelines.scored_parts import items_of, scored_part
from pipelines.store.schemas import PLAN, REVIEWS
from tests.results_case import threshold_rows

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FACTS = RunFacts(
    run_id="run",
    task="code_review",
    labels=("faulty", "clean"),
    model="starter",
    model_revision="1",
    device_hour_usd=Decimal(1),
    calibration=None,
    raw_threshold=0.9,
    is_escalating=True,
)
FOUND = {
    "path": "a.py",
    "line": 1,
    "end_line": 1,
    "severity": "high",
    "category": "sql-injection",
    "message": "m",
    "suggestion": None,
}
CUT = "the review is not JSON"


def claim(true_prob: float) -> dict[str, float]:
    return {"true_logprob": math.log(true_prob), "false_logprob": math.log(1 - true_prob)}


def plan(count: int) -> pa.Table:
    rows = [
        {"item_id": f"itm_{number}", "document_id": str(number), "document_uri": "u", "document_offset": 0, "text": "t"}
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=PLAN)


def reviews(*rows: dict[str, Any]) -> pa.Table:
    counts = {name: 1 for name in REVIEWS.names if name.endswith(("_tokens", "_nanoseconds"))}
    filled = [
        {"item_id": f"itm_{number}", "findings": [], "clean_claims": [], "dropped_findings": 0, "scored_at": NOW}
        | counts
        | row
        for number, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(filled, schema=REVIEWS)


SURE = {"findings": [FOUND | claim(0.95)], "dropped_findings": 2}
UNSURE = {"clean_claims": [claim(0.6)]}
UNREADABLE = {"failure": CUT, "findings": [FOUND | claim(0.95)]}


def test_a_sure_review_stands_with_its_findings_and_an_unsure_one_waits_for_claude() -> None:
    decided = threshold_rows(FACTS, plan(3), reviews(SURE, UNSURE, UNREADABLE), NOW)
    sure, unsure, unreadable = decided.rows.to_pylist()
    assert decided.is_doubtful.tolist() == [False, True, True]
    assert (sure["route"], sure["answer"], sure["dropped_findings"]) == ("accepted", "faulty", 2)
    assert sure["raw_prob"] == pytest.approx(0.95)
    (found,) = sure["findings"]
    assert found["raw_prob"] == pytest.approx(0.95)
    assert found["confidence"] is None, "nothing is calibrated"
    assert (unsure["engine_answer"], unsure["findings"]) == ("clean", [])
    assert (unreadable["engine_answer"], unreadable["findings"], unreadable["reason"]) == (None, None, CUT)


UNFINISHED = {"unfinished": CUT, "note": "asked twice", "findings": [FOUND | claim(0.95)]}


def test_a_review_that_was_cut_keeps_its_findings_never_stands_and_says_so() -> None:
    facts = replace(FACTS, raw_threshold=0.0, is_escalating=False)
    (row,) = threshold_rows(facts, plan(1), reviews(UNFINISHED), NOW).rows.to_pylist()
    assert (row["route"], row["answer"], row["engine_answer"]) == ("review", None, None)
    assert row["reason"] == f"{CUT}; asked twice"
    assert [found["line"] for found in row["findings"]] == [FOUND["line"]]
    doubtful = threshold_rows(FACTS, plan(1), reviews(UNFINISHED), NOW).doubtful
    unanswered = Standing(is_settled=True, reason="refused", model="claude", cost_usd=Decimal(1))
    (held,) = answer_rows(doubtful, [unanswered], NOW).to_pylist()
    assert held["reason"] == f"refused; {CUT}"
    assert len(held["findings"]) == 1


def test_an_answer_in_a_second_longer_try_is_an_answer_like_any_other_and_the_row_says_so() -> None:
    (row,) = threshold_rows(FACTS, plan(1), reviews(SURE | {"note": "asked twice"}), NOW).rows.to_pylist()
    assert (row["route"], row["answer"], row["reason"]) == ("accepted", "faulty", "asked twice")


def test_a_review_that_cannot_be_read_never_stands() -> None:
    facts = replace(FACTS, raw_threshold=0.0, is_escalating=False)
    readable, unreadable = threshold_rows(facts, plan(2), reviews(UNSURE, UNREADABLE), NOW).rows.to_pylist()
    assert readable["route"] == "accepted"
    assert (unreadable["route"], unreadable["answer"], unreadable["reason"]) == ("review", None, CUT)


def test_one_that_was_to_stand_over_the_whole_run_is_held_for_people() -> None:
    decisions = Decisions(is_accepted=np.array([True, True]))
    part = scored_part(items_of(plan(2)), reviews(UNSURE, UNREADABLE))
    decided = shard_rows(replace(FACTS, raw_threshold=None), part, decisions, NOW)
    assert decided.rows["route"].to_pylist() == ["accepted", "review"]
    assert not decided.is_doubtful.any(), "nobody was asked about it, so nobody's answer is waited for"


def test_claudes_list_takes_the_place_of_the_engines() -> None:
    doubtful = threshold_rows(FACTS, plan(2), reviews(UNSURE, UNREADABLE), NOW).doubtful
    answered = Standing(is_settled=True, label="faulty", model="claude", cost_usd=Decimal(1))
    unanswered = Standing(is_settled=True, reason="refused", model="claude", cost_usd=Decimal(1))
    verified = {"itm_0": {"findings": [FOUND | {"line": 7}], "dropped_findings": 1}}
    given, held = answer_rows(doubtful, [answered, unanswered], NOW, verified=verified).to_pylist()
    assert (given["route"], given["answer"], given["dropped_findings"]) == ("escalated", "faulty", 1)
    assert [(found["line"], found["raw_prob"]) for found in given["findings"]] == [(7, None)]
    assert (held["route"], held["answer"], held["findings"]) == ("review", None, None)


def test_what_an_answer_of_claudes_held_that_was_cut_is_put_to_the_engines_findings() -> None:
    doubtful = threshold_rows(FACTS, plan(2), reviews(UNFINISHED, UNREADABLE), NOW).doubtful
    cut = Standing(is_settled=True, reason="Claude's answer was cut off", model="claude", cost_usd=Decimal(1))
    other = FOUND | {"line": 7}
    verified = {f"itm_{number}": {"findings": [FOUND, other], "dropped_findings": 1} for number in range(2)}
    both, claudes = answer_rows(doubtful, [cut, cut], NOW, verified=verified).to_pylist()
    assert (both["route"], both["answer"]) == ("review", None)
    assert [(found["line"], found["raw_prob"]) for found in both["findings"]] == [
        (FOUND["line"], pytest.approx(0.95)),
        (7, None),
    ]
    assert [found["line"] for found in claudes["findings"]] == [FOUND["line"], 7]
    assert both["reason"] == f"Claude's answer was cut off; {CUT}"


def test_the_whole_findings_of_a_cut_answer_of_claudes_are_kept_while_the_next_tier_is_asked() -> None:
    lines = LineMap(Change((), (CodeFile("a.py", "added", (Hunk("", (CodeLine(1, "+", "x"),)),)),)))
    read = review_reader(lines)
    whole = json.dumps({"findings": [FOUND | {"suggestion": ""}] * 2})
    kept = Given(None, (FOUND,), 0, is_cut=True)
    assert judge(ItemResult("c", "succeeded", whole[:-20], "max_tokens"), read) == RowVerdict(
        Ending.NEXT_TIER,
        kept,
        "Claude's answer was cut off, its whole findings (1) are kept; raise escalation.max_output_tokens",
    )
    assert judge(ItemResult("c", "succeeded", whole[:-20], "end_turn"), read).ending is Ending.AGAIN
    lost = judge(ItemResult("c", "succeeded", whole[:20], "max_tokens"), read)
    assert (lost.ending, lost.given) == (Ending.NEXT_TIER, None)


def test_claudes_answer_is_checked_against_what_was_sent() -> None:
    lines = LineMap(Change((), (CodeFile("a.py", "added", (Hunk("", (CodeLine(1, "+", "x"),)),)),)))
    read = review_reader(lines)
    answer = FOUND | {"suggestion": ""}
    rows = str([answer, answer | {"line": 9}, answer | {"path": "../b.py"}]).replace("'", '"')
    given = read(f'{{"findings": {rows}}}')
    assert isinstance(given, Given)
    assert (given.label, given.findings, given.dropped_findings) == ("faulty", (FOUND,), 2)
    assert read('{"findings": []}') == Given("clean", (), 0)
    assert read('{"label": "clean"}') == read(None) == "Claude's answer is no list of findings"
