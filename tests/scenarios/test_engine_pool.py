"""Engines on Ray that die while they score, alone or with their node; each is the stand-in that starts at once."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, prepare_run
from flows.stages import planning, scoring
from infra.local.engine import STAND_IN
from pipelines.errors import EngineError
from pipelines.job.job_file import load_job
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.schemas import from_arrow
from tests.scenarios.pipeline_command import REPOSITORY, write_job
from tests.shared_servers import Variables
from workers.engines.feed import ShardFeed
from workers.engines.pool import EnginePool
from workers.engines.scorer import ShardReport

# Ray, Prefect and transformers warn about themselves while they load.
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return _prepare_run(tmp_path, engines=2)


def _prepare_run(tmp_path: Path, engines: int | None) -> Run:
    """``engines`` None: as many as there is room for."""
    heldout = REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl"
    path = write_job(
        tmp_path / "job.yaml",
        input=str(heldout),
        output=str(tmp_path),
        escalation="off",
        evaluation=None,
        compute={"device_hour_usd": 0.05, "engines": engines},
    )
    job = load_job(path)
    return prepare_run(job, check_surroundings(job), "pool")


@pytest.fixture
def pool(run: Run, servers: Variables, monkeypatch: pytest.MonkeyPatch) -> Iterator[EnginePool]:
    for name, value in servers.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    pool = scoring.start_engines(run)
    yield pool
    pool.close()
    ray.shutdown()
    settings.cache_clear()


def test_a_killed_engine_is_replaced_and_no_shard_is_lost(run: Run, pool: EnginePool) -> None:
    progress = ProgressReporter(Console(file=io.StringIO()))
    plan = planning.plan_documents(run, progress)
    killed: list[int] = []

    def kill_once(report: ShardReport) -> None:
        if not killed:
            killed.append(report.scorer_pid)
            os.kill(report.scorer_pid, signal.SIGKILL)

    pool.wait_ready()
    pool.score(ShardFeed.of(range(plan.shards)), kill_once)

    assert killed
    assert scoring.unscored_shards(run, plan) == []
    items = [
        item
        for shard in range(plan.shards)
        for item in from_arrow(run.store.read(layout.predictions_part(shard)), ["item_id"])["item_id"].to_pylist()
    ]
    assert len(items) == 700 == len(set(items))

    # A part that cannot be read is not the engine's fault and no reason to start another.
    run.store.create(layout.plan_part(9_999), b"not an Arrow file")
    with pytest.raises(EngineError, match="shard 9999: "):
        pool.score(ShardFeed.of([9_999]), lambda report: None)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Two nodes with room for one engine each; the driver is on neither."""
    memory = {"object_store_memory": 150 * 1024**2}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **memory})
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    for _ in range(2):
        cluster.add_node(num_cpus=1, **memory)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    settings.cache_clear()
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    settings.cache_clear()


@pytest.mark.prove
def test_when_a_node_is_lost_for_good_the_others_do_its_work(cluster: Cluster, run: Run) -> None:
    pool = scoring.start_engines(run)
    progress = ProgressReporter(Console(file=io.StringIO()))
    plan = planning.plan_documents(run, progress)
    nodes_left = list(cluster.worker_nodes)

    def lose_a_node_once(report: ShardReport) -> None:
        if len(nodes_left) == 2:
            cluster.remove_node(nodes_left.pop(), allow_graceful=False)

    pool.wait_ready()
    assert pool.engines == 2
    pool.score(ShardFeed.of(range(plan.shards)), lose_a_node_once)
    assert len(nodes_left) == 1
    assert scoring.unscored_shards(run, plan) == []
    pool.close()


@pytest.fixture
def slow_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """For nodes that start after this: there must be work left when another joins."""
    monkeypatch.setenv("ENGINE_STAND_IN_SECONDS_PER_TOKEN", "0.05")


@pytest.mark.prove
@pytest.mark.usefixtures("slow_engines", "cluster")
def test_a_node_that_joins_while_there_is_work_is_used(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.engines.pool._LOOK_FOR_ROOM_SECONDS", 0.2)
    run = _prepare_run(tmp_path, engines=None)
    plan = planning.plan_documents(run, ProgressReporter(Console(file=io.StringIO())))
    pool = scoring.start_engines(run)
    pool.wait_ready()
    scored_by: dict[int, int] = {}

    def add_a_node_once(report: ShardReport) -> None:
        scored_by[report.shard] = report.scorer_pid
        if len(cluster.worker_nodes) == 2:
            cluster.add_node(num_cpus=1, object_store_memory=150 * 1024**2)

    assert pool.engines == 2
    pool.score(ShardFeed.of(range(plan.shards)), add_a_node_once)
    assert len(set(scored_by.values())) == 3 == pool.engines
    assert scoring.unscored_shards(run, plan) == []
    pool.close()
