"""How many engines a pool asks for, and on what; a real Ray of one core."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest
import ray
from ray.exceptions import OutOfMemoryError

from pipelines.errors import EngineError
from workers.engines import pool
from workers.engines.feed import ShardFeed
from workers.engines.pool import EnginePool, cluster_device
from workers.engines.scorer import ScorerConfig, ShardReport

pytestmark = pytest.mark.processes


class Actor:
    """Stands where an actor would; nothing is started."""

    asked: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def options(cls, **wanted: Any) -> type[Actor]:
        cls.asked.append(wanted)
        return cls

    @classmethod
    def remote(cls, _config: ScorerConfig) -> Actor:
        return cls()


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=3, num_gpus=0, include_dashboard=False, object_store_memory=100_000_000)
    yield
    ray.shutdown()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setattr(Actor, "asked", [])
    monkeypatch.setattr(pool, "_scorer_actor", lambda: Actor)
    return Actor.asked


def config(devices: float = 1) -> ScorerConfig:
    return ScorerConfig("root", "weights", "revision", {}, {}, None, devices)  # type: ignore[arg-type]  # no frame is looked at


def resources(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in each.items() if name.startswith("num_")} for each in asked]


def test_without_a_wish_the_cluster_decides(asked: list[dict[str, Any]]) -> None:
    assert cluster_device(None) == "cpu"
    assert EnginePool(config(), None).engines == 3
    assert EnginePool(config(), 8).engines == 3
    assert resources(asked) == [{"num_cpus": 1}] * 6


def test_memory_that_an_engine_takes_is_asked_of_ray_and_bounds_how_many_there_are(asked: list[dict[str, Any]]) -> None:
    (node,) = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's annotations stop here
    a_part = int(node["Resources"]["memory"] / 2.5)
    pool = EnginePool(replace(config(), memory_bytes=a_part), None)
    assert pool.engines == 2
    assert pool.room_note and pool.room_note.startswith("no more, by memory: ")
    assert [each["memory"] for each in asked] == [a_part, a_part]
    assert EnginePool(config(), None).room_note is None


def test_gpus_that_are_still_to_come_are_asked_for(asked: list[dict[str, Any]]) -> None:
    assert cluster_device("gpu") == "gpu"
    assert EnginePool(config(devices=2), 4, "gpu").engines == 4
    assert resources(asked) == [{"num_gpus": 2, "num_cpus": 1}] * 4


def test_engines_of_a_small_model_share_a_gpu(asked: list[dict[str, Any]]) -> None:
    pool = EnginePool(config(devices=0.25), 4, "gpu")
    assert (pool.engines, pool.devices) == (4, 1.0)
    assert resources(asked) == [{"num_gpus": 0.25, "num_cpus": 1}] * 4


def test_who_asks_for_machines_to_come_says_how_many(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(EngineError) as refused:
        EnginePool(config(), None, "gpu")
    assert str(refused.value) == (
        "the Ray cluster has no GPU now and SLUICE_DEVICE=gpu asks for some: set compute.engines in the job, so that "
        "the autoscaler knows how many to bring"
    )
    assert asked == []


def test_no_room_for_a_single_engine(asked: list[dict[str, Any]]) -> None:
    with pytest.raises(EngineError, match="no node of the Ray cluster has 64 CPU cores for an engine; add one"):
        EnginePool(config(devices=64), None)
    assert asked == []


class Holding:
    """An engine that takes a while for a shard, and reports as its items how many it held meanwhile."""

    def __init__(self, _config: ScorerConfig) -> None:
        self._held, self._lock = 0, threading.Lock()

    def ready(self) -> bool:
        return True

    def score(self, shard: int) -> ShardReport:
        with self._lock:
            self._held += 1
        time.sleep(0.5)
        with self._lock:
            held, self._held = self._held, self._held - 1
        return ShardReport(shard, held, os.getpid())


@pytest.mark.parametrize(("engines", "in_flight", "most"), [(1, 2, 2), (2, 16, 4)])
def test_an_engine_holds_its_fair_share_and_no_more(
    monkeypatch: pytest.MonkeyPatch, engines: int, in_flight: int, most: int
) -> None:
    monkeypatch.setattr(pool, "_scorer_actor", lambda: ray.remote(max_restarts=0)(Holding))
    reports: list[ShardReport] = []
    holding = EnginePool(config(), engines)
    try:
        holding.score(ShardFeed.of(range(8)), reports.append, lambda: in_flight)
    finally:
        holding.close()
    assert sorted(report.shard for report in reports) == list(range(8))
    assert max(report.items for report in reports) == most


class Gathering(Holding):
    """One that scores nothing before another has started too: how fast engines start must not decide a test."""

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__(config)
        self._place = Path(config.run_root)
        (self._place / str(os.getpid())).touch()

    def score(self, shard: int) -> ShardReport:
        deadline = time.monotonic() + 120
        while len(list(self._place.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        return super().score(shard)


def test_engines_come_for_what_waits_up_to_the_most_and_those_without_a_place_hold_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool, "_scorer_actor", lambda: ray.remote(max_restarts=0)(Gathering))
    monkeypatch.setattr(pool, "_LOOK_FOR_ROOM_SECONDS", 0.1)
    reports: list[ShardReport] = []
    growing = EnginePool(replace(config(), run_root=str(tmp_path)), 1, "cpu", most_engines=5)
    assert growing.engines == 1
    try:
        growing.score(ShardFeed.of(range(24)), reports.append)
        assert growing.engines == 5, "two find no core: an autoscaler would bring them some"
        assert 1 < growing.devices <= 3
    finally:
        growing.close()
    assert sorted(report.shard for report in reports) == list(range(24))
    assert 1 < len({report.scorer_pid for report in reports}) <= 3


@pytest.mark.prove
def test_an_engine_that_ray_ends_for_want_of_memory_is_replaced_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_scorer_actor", lambda: ray.remote(max_restarts=0)(Holding))
    outcome, ends = pool._result, iter([OutOfMemoryError("the node runs out of memory")])

    def once_out_of_memory(call: Any, shard: int | None) -> ShardReport | None:
        if shard is None or not (error := next(ends, None)):
            return outcome(call, shard)
        with monkeypatch.context() as patch:
            patch.setattr(ray, "get", Mock(side_effect=error))
            return outcome(call, shard)

    monkeypatch.setattr(pool, "_result", once_out_of_memory)
    reports: list[ShardReport] = []
    holding = EnginePool(config(), 1)
    try:
        holding.score(ShardFeed.of(range(3)), reports.append)
    finally:
        holding.close()
    assert sorted(report.shard for report in reports) == [0, 1, 2]
    assert next(ends, None) is None
