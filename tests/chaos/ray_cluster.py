"""A Ray cluster of one node that does the work and can be killed, and a head that only keeps the books."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from ray.cluster_utils import Cluster

from infra.local.engine import STAND_IN

# The stand-in takes its time for each prompt, so that there is something to kill.
_SECONDS_PER_TOKEN = "0.02"
_MEMORY = {"object_store_memory": 150 * 1024**2}
# A dead node is noticed within seconds: Ray's own defaults wait for half a minute.
_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "6",
    "RAY_worker_niceness": "0",  # other tests run meanwhile
}


class RayCluster:
    """The cluster; as a context manager it is started and ended."""

    def __init__(self) -> None:
        os.environ.update(_HEALTH_CHECKS | {"ENGINE_STAND_IN_SECONDS_PER_TOKEN": _SECONDS_PER_TOKEN})
        self._has_real_engine = False
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **_MEMORY})
        self.add_node()

    @property
    def address(self) -> str:
        """For RAY_ADDRESS."""
        return str(self._cluster.address)

    def use_engine(self, *, is_real: bool) -> None:
        """Have the node's processes find the real vLLM or the stand-in: a matter of the node's environment."""
        if is_real != self._has_real_engine:
            self._has_real_engine = is_real
            self.kill_node()
            self.add_node()

    def add_node(self) -> None:
        """Put a node in the place of the one that is gone."""
        with _variable("PYTHONPATH", None if self._has_real_engine else str(STAND_IN)):
            self._cluster.add_node(num_cpus=1, **_MEMORY)

    def kill_node(self) -> None:
        """End the node and all that runs on it."""
        (node,) = self._cluster.worker_nodes
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_actor(self) -> bool:
        """Kill the scorer actor; False if there is none."""
        (node,) = self._cluster.worker_nodes
        raylet = node.all_processes["raylet"][0].process
        for process in psutil.Process(raylet.pid).children():
            if _is_scorer(process):
                process.kill()
                return True
        return False

    def close(self) -> None:
        """End all of it."""
        self._cluster.shutdown()


def _is_scorer(process: psutil.Process) -> bool:
    try:
        return "ray::Scorer" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has just ended
        return False


@contextmanager
def _variable(name: str, value: str | None) -> Iterator[None]:
    """Set a variable for the processes that are started in the block."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before
