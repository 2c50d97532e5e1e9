"""What planning hands on while it goes on: each shard that is not scored yet, once; and who has given up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.stages.planning import PlanSummary
from flows.stages.scoring import PlannedShards
from pipelines.errors import SluiceError
from pipelines.store import layout
from pipelines.store.objects import Store


def planned(folder: Path, *scored: int) -> PlannedShards:
    store = Store(str(folder))
    for shard in scored:
        store.create(layout.predictions_part(shard), b"committed")
    run: Any = SimpleNamespace(store=store, questions=())
    return PlannedShards(run)


def plan(shards: int, tokens: int = 0) -> PlanSummary:
    return PlanSummary(shards=shards, items=shards, failed_items=0, gold_items=0, document_tokens=tokens, items_sum="0")


def test_a_shard_is_handed_on_as_soon_as_it_is_committed(tmp_path: Path) -> None:
    shards = planned(tmp_path)
    shards.add(0, 100)
    assert (shards.feed.take(), shards.feed.may_bring_more) == ([0], True)
    shards.add(1, 50)
    assert shards.size == (2, 150), "what is known by now, while the plan goes on"
    shards.finish(plan(2, 150))
    assert (shards.feed.take(), shards.feed.may_bring_more) == ([1], False)


def test_what_an_earlier_process_has_scored_is_not_handed_on_again(tmp_path: Path) -> None:
    shards = planned(tmp_path, 0, 2)
    for shard in range(4):
        shards.add(shard, 10)
    shards.finish(plan(4, 40))
    assert shards.feed.take() == [1, 3]


def test_of_a_plan_that_was_whole_before_the_rest_is_handed_on_at_once(tmp_path: Path) -> None:
    shards = planned(tmp_path, 1)
    shards.finish(plan(3, 30))
    assert (shards.feed.take(), shards.feed.may_bring_more) == ([0, 2], False)
    assert shards.size == (3, 30)


def test_planning_stops_once_nobody_scores_any_more(tmp_path: Path) -> None:
    shards = planned(tmp_path)
    shards.add(0, 10)
    shards.feed.cancel()
    with pytest.raises(SluiceError, match="given up"):
        shards.add(1, 10)
    assert shards.feed.take() == []
