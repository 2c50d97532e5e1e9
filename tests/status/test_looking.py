"""How far a run is, by its store alone: numbers that say what is there, what is a guess, and few requests."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.escalation.journal import Journal
from pipelines.status.looking import RunLooker
from pipelines.store.objects import Store
from tests.made_up_run import accepted, escalated, failed, write_run
from tests.status.run_under_way import NOW, RunUnderWay


@pytest.fixture
def run(tmp_path: Path) -> RunUnderWay:
    return RunUnderWay(tmp_path)


def test_a_run_that_is_planned_and_scored_at_a_time_says_what_is_a_guess(run: RunUnderWay) -> None:
    run.plan(range(300))
    run.engines(2)
    run.score(range(100), items=12, seconds_a_shard=0.5, device_seconds=0.75)
    status = RunLooker(run.store).look(True, NOW)
    assert (status.stage, status.state) == ("plan", "planning and scoring")
    assert (status.shards, status.planned_items) == (300, 3_600)
    assert (status.scored_shards, status.scored_items) == (100, 1_200)
    assert status.items_per_second == pytest.approx(24)
    assert status.seconds_left is None, "nobody knows yet how much there is"
    assert status.busy_share == pytest.approx(0.75)
    assert status.engine_cost_usd == Decimal("0.075"), "75 device seconds at 3.60 an hour"
    assert set(status.is_about) == {"planned_items", "scored_items", "engine_cost_usd", "cost_usd"}


def test_once_the_plan_is_whole_it_says_how_long_scoring_takes(run: RunUnderWay) -> None:
    run.plan_is_whole(shards=40, items=400)
    run.score(range(10))
    status = RunLooker(run.store).look(True, NOW)
    assert (status.state, status.planned_items) == ("scoring", 400)
    assert status.seconds_left == pytest.approx(30)
    assert status.is_about == ("scored_items",), "every part was looked into: the cost is what it is"


@pytest.mark.parametrize(("is_held", "state"), [(False, "scoring, stopped"), (None, "scoring, or stopped")])
def test_a_run_that_nobody_works_on_has_no_pace(run: RunUnderWay, is_held: bool | None, state: str) -> None:
    run.plan_is_whole(shards=40, items=400)
    run.score(range(10))
    status = RunLooker(run.store).look(is_held, NOW + timedelta(minutes=5))
    assert (status.state, status.items_per_second, status.seconds_left) == (state, None, None)
    assert status.next_step == "pipeline resume run_1   does what is left"


def test_a_commit_of_just_now_is_somebody_at_work_on_another_machine(run: RunUnderWay) -> None:
    run.plan(range(3))
    run.score(range(3))
    assert RunLooker(run.store).look(False, NOW + timedelta(seconds=5)).is_worked_on


def test_a_run_that_has_just_begun_is_not_stopped_because_it_has_done_nothing_yet(tmp_path: Path) -> None:
    begun = {"run_id": "run_1", "model": "starter", "created_at": NOW.isoformat()}
    (tmp_path / "run.json").write_text(json.dumps(begun))
    looker = RunLooker(Store(str(tmp_path)))
    assert looker.look(False, NOW + timedelta(seconds=20)).state == "planning"
    assert looker.look(False, NOW + timedelta(minutes=3)).state == "planning, stopped"


def test_batches_and_what_they_cost_are_those_of_the_journal(run: RunUnderWay) -> None:
    run.plan_is_whole(shards=1, items=10)
    run.score(range(1))
    run.scored(devices=2, held_seconds=2.0)
    for chunk in range(3):
        run.send(chunk, items=3 + chunk, seconds_ago=300 - chunk)
    run.answer(0, ["0.01", "0.02", "0.003000000001"])
    looker = RunLooker(run.store)
    status = looker.look(False, NOW)
    assert (status.stage, status.state) == ("ask", "Claude is answering")
    assert (status.batches_sent, status.batches_collected) == (3, 1)
    assert [(batch.chunk, batch.items) for batch in status.open_batches] == [(1, 4), (2, 5)]
    assert status.open_batches[0].sent_at == NOW - timedelta(seconds=299)
    assert (status.claude_cost_usd, status.reserved_usd) == (Decimal("0.033000000001"), Decimal("1.0"))
    assert status.busy_share == pytest.approx(0.25), "a second of two devices held for two"
    for chunk in (1, 2):
        run.answer(chunk, ["0.01"])
    assert Journal(run.store).close(3, None, NOW)
    status = looker.look(False, NOW)
    assert (status.batches_sent, status.batches_collected, status.open_batches) == (3, 3, ()), "the end is no batch"
    assert status.claude_cost_usd == Decimal("0.053000000001")


def test_routes_are_those_of_the_published_rows(run: RunUnderWay) -> None:
    run.plan_is_whole(shards=1, items=10)
    run.score(range(1))
    run.decide()
    run.publish(0, {"accepted": 5, "escalated": 2})
    looker = RunLooker(run.store)
    assert looker.look(True, NOW).routes == {"accepted": 5, "escalated": 2}
    run.publish(1, {"accepted": 1}, "arrow")
    status = looker.look(True, NOW)
    assert (status.routes, status.state) == ({"accepted": 6, "escalated": 2}, "publishing")


def test_without_a_price_the_cost_is_unknown_and_never_nothing(tmp_path: Path) -> None:
    run = RunUnderWay(tmp_path, hour_usd=None)
    run.plan_is_whole(shards=2, items=20)
    run.score(range(1))
    status = RunLooker(run.store).look(True, NOW)
    assert (status.engine_cost_usd, status.cost_usd) == (None, None)


def test_a_complete_run_says_what_its_summary_says(tmp_path: Path) -> None:
    summary = write_run(tmp_path / "run", [[*map(accepted, range(5)), *map(escalated, range(5, 7)), failed(8)]])
    status = RunLooker(Store(str(tmp_path / "run"))).look(None, NOW)
    assert (status.state, status.planned_items, status.seconds_left) == ("complete", 8, 0.0)
    assert (status.cost_usd, status.engine_cost_usd) == (summary.cost_usd, summary.gpu_cost_usd)
    assert {route: items for route, items in status.routes.items() if items} == {
        "accepted": 5,
        "escalated": 2,
        "failed": 1,
    }


def test_a_large_run_is_listed_in_full_once_and_then_only_from_where_it_was(run: RunUnderWay) -> None:
    run.plan_is_whole(shards=5_000, items=50_000)
    run.score(range(1_100))
    looker = RunLooker(run.store)
    looker.look(True, NOW)
    first, run.store.requests = run.store.requests, 0
    assert first <= 80, "its pages, and a bounded number of parts to look into"
    run.score(range(1_100, 1_104))
    status = looker.look(True, NOW)
    assert status.scored_shards == 1_104
    assert run.store.requests <= 12
    assert looker.requests == run.store.requests, "it knows what it asks"


def test_parts_that_are_committed_out_of_order_are_not_overlooked(run: RunUnderWay) -> None:
    run.plan_is_whole(shards=10, items=100)
    looker = RunLooker(run.store)
    run.score(range(5, 8))
    assert looker.look(True, NOW).scored_shards == 3
    run.score(range(0, 5))
    assert looker.look(True, NOW).scored_shards == 8
