"""A run on three Ray nodes with addresses of their own, one of which is killed, cut off, or comes late.

Prints how long each disturbance took against an undisturbed run (`pytest -s`); asserts what every run must keep.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pyarrow.dataset as ds
import pytest
import yaml

from tests.bench.children import child_environment
from tests.bench.growth import write_documents
from tests.bench.workload import TICKETS_JOB
from tests.cluster.nodes import Nodes, why_not

pytestmark = [pytest.mark.prove, pytest.mark.timeout(1800)]

_ITEMS, _SECONDS_PER_TOKEN = 1_200, 0.05
_ITEMS_OF_REAL_ENGINES = 6_000  # they take as long over so many
_WAIT_SECONDS = 600


@contextmanager
def two_of_three(seconds_per_token: float | None) -> Iterator[Nodes]:
    """Two of three nodes are started; the third is the test's."""
    if reason := why_not():
        pytest.skip(reason)  # such as no right to make network namespaces
    with Nodes(seconds_per_token) as nodes:
        nodes.start(1)
        nodes.start(2)
        yield nodes


class Case:
    """One run, from its submission to its end; a disturbance comes when a few shards are scored."""

    def __init__(self, nodes: Nodes, folder: Path, name: str, items: int) -> None:
        self.nodes, self.name, self.items, self.output = nodes, name, items, folder / "runs"
        self.root = self.output / name
        self.environment = child_environment(folder)
        self.job = folder / "job.yaml"

    def run(self, disturb: Callable[[Case], None]) -> float:
        started = time.monotonic()
        self.process = self.start(1, ["submit", str(self.job), "--run-id", self.name])
        self._wait_for_shards(4)
        disturb(self)
        assert self.process.wait(_WAIT_SECONDS) == 0, self.nodes.last_words()
        seconds = time.monotonic() - started
        self._check()
        return seconds

    def start(self, node: int, arguments: list[str]) -> subprocess.Popen[bytes]:
        return self.nodes.start_command(node, arguments, self.environment)

    def kill_driver_and_resume_on_node_2(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = self.start(2, ["resume", str(self.root)])

    @property
    def engines(self) -> int:
        (session,) = (self.root / "scoring").glob("session-*.json")
        engines: int = json.loads(session.read_text())["engines"]
        return engines

    def _wait_for_shards(self, count: int) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while len(list((self.root / "predictions").glob("part-*"))) < count:
            assert self.process.poll() is None and time.monotonic() < deadline, self.nodes.last_words()
            time.sleep(0.1)

    def _check(self) -> None:
        rows = ds.dataset(str(self.root / "results"), format="parquet").to_table(columns=["item_id", "cost_usd"])
        assert rows.num_rows == self.items == len(set(rows["item_id"].to_pylist()))
        summary = json.loads((self.root / "summary.json").read_text())
        assert summary["items"] == self.items == sum(route["items"] for route in summary["routes"].values())
        assert sum(rows["cost_usd"].to_pylist(), Decimal(0)) == Decimal(summary["cost_usd"])
        assert (self.root / "_COMPLETE").exists()


class Disturbances:
    """Runs over the same documents, each disturbed in its way; the first is not."""

    def __init__(self, nodes: Nodes, folder: Path, items: int) -> None:
        self._nodes, self._folder, self._items = nodes, folder, items
        self._seconds: dict[str, float] = {}
        write_documents(folder / "documents", items)
        job = yaml.safe_load(TICKETS_JOB.read_text(encoding="utf-8")) | {
            "input": str(folder / "documents"),
            "output": str(folder / "runs"),
            "escalation": "off",
            "quality": "off",
        }
        del job["evaluation"]
        (folder / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))

    def run(self, name: str, disturb: Callable[[Case], None]) -> Case:
        case = Case(self._nodes, self._folder, name, self._items)
        taken = self._seconds[name] = case.run(disturb)
        print(f"{name}: {taken:.1f} s, {taken / self._seconds['undisturbed']:.2f} x undisturbed", flush=True)
        return case

    def of_three_nodes(self) -> None:
        """A driver killed, then a node; two nodes are left."""
        self._nodes.start(3)
        assert self.run("undisturbed", lambda case: None).engines == 3
        self.run("driver-killed", Case.kill_driver_and_resume_on_node_2)
        self.run("node-killed", lambda case: self._nodes.kill(3))

    def print_table(self) -> None:
        undisturbed = self._seconds["undisturbed"]
        rows = [f"| {name} | {taken:.1f} | {taken / undisturbed:.2f} |" for name, taken in self._seconds.items()]
        print("\n".join(["| disturbance | seconds | x undisturbed |", "|---|--:|--:|", *rows]))


def test_whatever_happens_to_a_node_every_item_is_there_once(tmp_path: Path) -> None:
    with two_of_three(_SECONDS_PER_TOKEN) as nodes:
        runs = Disturbances(nodes, tmp_path, _ITEMS)
        runs.of_three_nodes()
        _wait_until_forgotten()
        assert runs.run("node-added", lambda case: nodes.start(3)).engines == 3
        runs.run("node-cut-off", lambda case: nodes.cut_off(3))
        nodes.reconnect(3)
        runs.print_table()


def test_of_real_engines_too(tmp_path: Path) -> None:
    with two_of_three(None) as nodes:
        runs = Disturbances(nodes, tmp_path, _ITEMS_OF_REAL_ENGINES)
        runs.of_three_nodes()
        runs.print_table()


def _wait_until_forgotten() -> None:
    """A dead node counts as one of the cluster until its head has missed it for some seconds."""
    time.sleep(20)
