"""A target or a budget that decides over a whole run: real processes, killed and resumed, against the local service."""

from __future__ import annotations

import io
import json
import re
from concurrent.futures.process import BrokenProcessPool
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.deciding.asking import settle_quality
from flows.escalation.escalate import Escalated
from flows.run import open_run
from flows.stages.planning import PlanSummary
from flows.stages.publishing import publish_scored
from pipelines.escalation.patience import PatientProvider
from pipelines.routes import Stop
from pipelines.store import layout
from tests.faults.escalation_case import LONGEST_WAIT_SECONDS, KilledAt, die, quiet
from tests.faults.service_case import Case, Prepare, Row, cancel, client, in_process, of_route, routes

pytestmark = pytest.mark.processes

ITEMS = 600
TARGET = {"target": 0.9, "assurance": 0.9, "audit_items": 20}
SLOW_SECONDS = 1_000
SLOW = ("--processing-seconds", str(SLOW_SECONDS))  # of the service's clock, which a test moves


def settle(root: str, url: str, point: str = "never", *, wait: bool = True) -> Escalated:
    """What one process does: as `flows.process` after scoring."""
    run = open_run(root)
    plan = PlanSummary.model_validate_json(run.store.read(layout.PLAN_COMPLETE))
    provider = PatientProvider(KilledAt(client(url), point), lambda _seconds: None, LONGEST_WAIT_SECONDS)
    escalated = settle_quality(run, plan, provider, quiet(), wait=wait)
    if escalated.is_done:
        publish_scored(run, plan, quiet())
    return escalated


def settle_and_die_between_decisions_and_record(root: str, url: str) -> None:
    from flows.deciding import decisions as quality_decisions

    quality_decisions._record = lambda *_: die()  # type: ignore[assignment]  # this process does nothing else
    settle(root, url)


def record_of(run: Case) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(run.root, layout.RULE).read_text())
    return record


def settled(run: Case, **options: Any) -> Escalated:
    return in_process(settle, run.root, run.server.url, **options)


def settle_by_and_by(run: Case) -> int:
    """Call again whenever the service is done with what it was sent; the number of calls."""
    calls = 1
    while not settled(run, wait=False).is_done:
        run.server.control("clock", {"advance_seconds": SLOW_SECONDS})
        calls += 1
        assert calls < 60
    return calls


def wrong(rows: list[Row]) -> int:
    return sum(row["answer"] != row["gold_label"] for row in rows)


def asked(run: Case) -> set[str]:
    """Items of which the service billed an answer."""
    return set(run.billed())


def test_the_target_is_kept_by_asking_a_part(case: Prepare) -> None:
    run = case(ITEMS, is_informed=True, quality=TARGET, escalation={"chunk_items": 400})
    assert settled(run) == Escalated(is_done=True)
    rows, record = run.rows(), record_of(run)
    assert routes(rows).keys() == {"accepted", "escalated"}
    assert len(of_route(rows, "accepted")) > 100
    assert wrong(rows) <= 0.1 * ITEMS
    assert wrong(of_route(rows, "escalated")) == 0
    assert asked(run) == {row["item_id"] for row in of_route(rows, "escalated")}
    run.check_costs()
    assert record["agreement_lower"] == 0.9
    assert record["audit"]["sample"] == 20
    batches = list(Path(run.root, "escalations").glob("chunk-*/submitted-*"))
    assert len(batches) == record["certificate"]["rounds"] == 2, "the audit is in the last batch, not in one of its own"
    assert record["statement"].startswith(
        "Promised: agreement with Claude on at least 90 % of 600 items, so at most 60 may differ, with 90 % assurance."
    )
    confidences = [row["confidence"] for row in of_route(rows, "accepted")]
    assert record["calibration"]["temperature"] == pytest.approx(1.0, abs=0.5)
    assert all(0 < confidence < 1 for confidence in confidences)


def test_what_is_asked_about_is_said_and_adds_up(case: Prepare) -> None:
    run, shown = case(ITEMS, is_informed=True, quality=TARGET, escalation={"chunk_items": 400}), io.StringIO()
    opened = open_run(run.root)
    plan = PlanSummary.model_validate_json(opened.store.read(layout.PLAN_COMPLETE))
    provider = PatientProvider(client(run.server.url), lambda _seconds: None, LONGEST_WAIT_SECONDS)
    progress = ProgressReporter(Console(file=shown, width=200))
    assert settle_quality(opened, plan, provider, progress, wait=True).is_done
    said = re.findall(r"^(round 1|round 2|audit) +(\d+) ", shown.getvalue(), re.MULTILINE)
    assert [what for what, _ in said] == ["round 1", "round 2", "audit"]
    assert sum(int(items) for _, items in said) == len(asked(run))


@pytest.fixture(scope="module")
def undisturbed(module_case: Prepare) -> list[tuple[Any, ...]]:
    """What the documents come to if nothing happens."""
    run = module_case(ITEMS, is_informed=True, quality=TARGET, escalation={"chunk_items": 400})
    assert settled(run) == Escalated(is_done=True)
    return fates(run.rows())


def fates(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [(row["document_id"], row["route"], row["answer"]) for row in rows]


@pytest.mark.parametrize("point", ["before POST", "after POST before id", "while polling", "while reading results"])
def test_a_killed_run_asks_the_very_items_that_it_would_have_asked(
    case: Prepare, point: str, undisturbed: list[tuple[Any, ...]]
) -> None:
    run = case(ITEMS, is_informed=True, quality=TARGET, escalation={"chunk_items": 400})
    for _ in range(2):  # once in each message batch
        with pytest.raises(BrokenProcessPool):
            settled(run, point=point)
    assert settled(run) == Escalated(is_done=True)
    rows = run.rows()
    assert len(rows) == ITEMS
    assert asked(run) == {row["item_id"] for row in of_route(rows, "escalated")}
    run.check_costs()
    assert fates(rows) == undisturbed, "the run's id makes its seed: another folder, the same items"


def test_a_kill_between_the_decisions_and_their_record_decides_nothing_anew(case: Prepare) -> None:
    run = case(ITEMS, is_informed=True, quality=TARGET, escalation={"chunk_items": 400})
    with pytest.raises(BrokenProcessPool):
        in_process(settle_and_die_between_decisions_and_record, run.root, run.server.url)
    decisions = Path(run.root, layout.DECISIONS)
    before, creates = decisions.read_bytes(), run.creates()
    assert settled(run) == Escalated(is_done=True)
    assert (decisions.read_bytes(), run.creates()) == (before, creates)
    assert len(run.rows()) == ITEMS


def test_nobody_needs_to_wait_for_a_round(case: Prepare) -> None:
    run = case(ITEMS, *SLOW, is_informed=True, quality=TARGET)
    assert settle_by_and_by(run) >= 3
    assert len(run.rows()) == ITEMS


def test_a_budget_that_ends_before_the_target_is_kept_says_what_was_reached(case: Prepare) -> None:
    run = case(ITEMS, is_informed=True, quality=TARGET, escalation={"max_output_tokens": 16}, budget_usd="0.012")
    assert settled(run) == Escalated(is_done=True, stop=Stop.BUDGET)
    rows, record = run.rows(), record_of(run)
    assert len(rows) == ITEMS
    held = of_route(rows, "review")
    assert len(held) > 80
    assert {row["reason"] for row in held} == {"budget: budget_usd does not reach for it"}
    assert {row["engine_answer"] is None for row in held} == {False}
    assert sum(run.billed().values()) <= Decimal("0.012")
    assert record["stopped_by"] == "budget"
    assert "Not kept: the run was stopped first (budget)." in record["statement"]
    assert f"{len(held):,} are held for review, with it beside them." in record["statement"]


def test_a_budget_alone_is_spent_where_the_engine_errs(case: Prepare) -> None:
    run = case(ITEMS, is_informed=True, quality=None, escalation={"max_output_tokens": 16}, budget_usd="0.10")
    assert settled(run) == Escalated(is_done=True)
    rows, record = run.rows(), record_of(run)
    assert routes(rows).keys() == {"accepted", "escalated"}
    assert 0 < sum(run.billed().values()) <= Decimal("0.10")
    escalated, accepted = of_route(rows, "escalated"), of_route(rows, "accepted")
    assert sum(row["engine_answer"] != row["gold_label"] for row in escalated) / len(escalated) > wrong(accepted) / len(
        accepted
    )
    assert 1 - wrong(rows) / ITEMS >= record["agreement_lower"] > 0.5
    assert record["statement"].startswith("Promised: nothing about quality; the budget decided how many items")


def test_what_the_worst_case_held_back_of_a_budget_is_spent_once_more(case: Prepare) -> None:
    run = case(ITEMS, is_informed=True, quality=None, escalation={"max_output_tokens": 64}, budget_usd="0.10")
    for point in ("after POST before id", "while polling", "while reading results"):
        with pytest.raises(BrokenProcessPool):
            settled(run, point=point)
    assert settled(run) == Escalated(is_done=True)
    rows, record = run.rows(), record_of(run)
    assert record["reached"]["rounds"] == 4
    assert sum(run.billed().values()) <= Decimal("0.10")
    assert asked(run) == {row["item_id"] for row in of_route(rows, "escalated")}
    assert 1 - wrong(rows) / ITEMS >= record["agreement_lower"] > 0.5
    run.check_costs()


def test_a_cancelled_run_holds_what_was_not_answered(case: Prepare) -> None:
    run = case(ITEMS, *SLOW, is_informed=True, quality=TARGET)
    assert settled(run, wait=False) == Escalated(is_done=False)
    in_process(cancel, run.root)
    assert settled(run) == Escalated(is_done=True, stop=Stop.CANCELLED)
    assert len(run.rows()) == ITEMS
    assert record_of(run)["stopped_by"] == "cancelled"


def test_what_a_policy_holds_back_is_never_asked_and_accepted_only_where_the_engine_is_sure(case: Prepare) -> None:
    run = case(ITEMS, is_informed=True, quality=TARGET, policy={"never_escalate": "label == 'billing'"})
    assert settled(run) == Escalated(is_done=True)
    rows = run.rows()
    assert len(rows) == ITEMS
    billing = [row for row in rows if row["gold_label"] == "billing"]
    assert routes(billing).keys() == {"accepted", "withheld"}
    assert asked(run).isdisjoint(row["item_id"] for row in billing)
    least = min(row["raw_prob"] for row in of_route(rows, "accepted") if row["gold_label"] != "billing")
    assert min(row["raw_prob"] for row in of_route(billing, "accepted")) >= least


def test_where_nothing_may_be_sent_nothing_is_decided(case: Prepare) -> None:
    run = case(30, is_informed=True, quality=TARGET, policy={"never_escalate": "label != 'refund'"})
    assert settled(run) == Escalated(is_done=True)
    assert routes(run.rows()) == {"withheld": 30}
    assert run.creates() == 0


def test_a_later_run_of_the_job_is_compared_with_the_last(case: Prepare) -> None:
    first = case(ITEMS, is_informed=True, quality=TARGET)
    assert settled(first) == Escalated(is_done=True)
    assert record_of(first)["drift"] is None
    profiles = list((first.folder / "_quality" / "faults").iterdir())
    assert len(profiles) == 1
    earlier = json.loads(profiles[0].read_text())
    assert sum(earlier["label_counts"]) == ITEMS
    # An earlier run whose documents were all of one kind.
    changed = earlier | {"run_id": "before", "label_counts": [ITEMS, 0, 0], "agreement": 1.0, "places": []}
    second = case(ITEMS, is_informed=True, quality=TARGET, folder="second")
    (second.folder / "_quality" / "faults").mkdir(parents=True)
    (second.folder / "_quality" / "faults" / "20200101T000000-before.json").write_text(json.dumps(changed))
    assert settled(second) == Escalated(is_done=True)
    drift = record_of(second)["drift"]
    assert drift["since"] == "before"
    assert 0.5 < drift["label_mix"] < 0.8
    assert drift["confidence"] == 0
    assert drift["agreement"] < 0
    assert "Drift since run before: " in record_of(second)["statement"]
    assert record_of(second)["prior"] == {
        "run_id": None,
        "runs": [],
        "labels": 0,
        "reason": "run before has 0 labels to learn from; 30 are needed",
    }
