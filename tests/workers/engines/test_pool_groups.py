"""Engines of several GPUs, on a real Ray of two nodes whose GPUs are made up: each group is of one node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from workers.engines import pool
from workers.engines.fitting.machines import Machine, cluster_machines
from workers.engines.pool import EnginePool
from workers.engines.scorer import ScorerConfig, ShardReport

pytestmark = pytest.mark.processes


class Placed:
    """An engine that reports as its items how many GPUs it has, and as its process the node that they are of."""

    def __init__(self, _config: ScorerConfig) -> None:
        self._gpus = len(ray.get_gpu_ids())
        self._node = int(ray.get_runtime_context().get_node_id()[:12], 16)

    def ready(self) -> bool:
        return True

    def score(self, shard: int) -> ShardReport:
        return ShardReport(shard, self._gpus, self._node)


@pytest.fixture
def nodes() -> Iterator[None]:
    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=2, num_gpus=3, object_store_memory=100_000_000, include_dashboard=False)
    ray.init(address=cluster.address)
    yield
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.prove
@pytest.mark.usefixtures("nodes")
def test_a_group_is_of_one_node_and_none_is_asked_for_that_would_need_two(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = cluster_machines(look_at_cards=True)
    assert [(each.cores, each.cards) for each in machines] == [(2, (None, None, None))] * 2, "nvidia-smi knows none"
    assert all(isinstance(each, Machine) and each.card_bytes is None for each in machines)
    monkeypatch.setattr(pool, "_scorer_actor", lambda: ray.remote(max_restarts=0)(Placed))
    config = ScorerConfig("root", "weights", "revision", {}, {}, None, 2)  # type: ignore[arg-type]  # no frame is looked at
    pairs = EnginePool(config, None)
    try:
        assert pairs.engines == 2, "six GPUs, but three on each node"
        # Asked one by one: the pool would leave all to whichever is ready first.
        reports: list[ShardReport] = ray.get([actor.score.remote(0) for actor in pairs._actors], timeout=100)
    finally:
        pairs.close()
    assert {report.items for report in reports} == {2}
    assert len({report.scorer_pid for report in reports}) == 2
