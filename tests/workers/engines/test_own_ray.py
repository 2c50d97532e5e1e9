"""A Ray of our own: nobody else on the network or the machine reaches it, and its end is no silence."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import EngineError
from pipelines.settings import settings
from tests.scenarios.terminal_session import assert_nothing_left
from workers.engines import own_ray

TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"

REAL = """
import os, psutil, ray
from workers.engines.own_ray import start_ray

start_ray(None)
mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
for process in mine:
    for connection in process.net_connections():
        if connection.status == "LISTEN":
            print("listens", connection.laddr.ip.removeprefix("::ffff:"))
print("niceness", ray.get(ray.remote(lambda: os.nice(0)).remote()))
ray.shutdown()
"""

# A traceback may hold references until long after its engine was lost.
REFERENCES_LEFT = """
import time, ray
from workers.engines.own_ray import leave_ray, start_ray

start_ray(None)
references = [ray.put(number) for number in range(1000)]
leave_ray()
while references:
    references.pop()
    time.sleep(0.001)
print("goes on")
"""

# An engine is at work, which would take for ever, when the raylet is gone.
RAYLET_LOST = """
import sys, threading, time
import psutil, ray
from pipelines.errors import EngineError
from workers.engines import own_ray, pool
from workers.engines.feed import ShardFeed
from workers.engines.scorer import ScorerConfig

class Endless:
    def __init__(self, _): pass
    def ready(self): return True
    def score(self, shard):
        while True: time.sleep(1)

def lose_the_raylet():
    (raylet,) = [each for each in psutil.Process().children(recursive=True) if each.name() == "raylet"]
    raylet.kill()

own_ray.start_ray(None)
pool._scorer_actor = lambda: ray.remote(max_restarts=0)(Endless)
engines = pool.EnginePool(ScorerConfig("root", "weights", "revision", {}, {}, None, 1), 1)
feed = ShardFeed.of(range(2))
threading.Timer(10, lose_the_raylet).start()
try:
    engines.score(feed, print)
except EngineError as error:
    print(error)
own_ray.leave_ray()
"""


def run_alone(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    """In a process with a Ray of its own, and everything that it keeps below ``home``."""
    environment = os.environ | {"SLUICE_STATE_DIR": str(home / "state"), "HOME": str(home)}
    for name in ("RAY_AUTH_MODE", "RAY_worker_niceness"):  # of the tests' own Ray
        environment.pop(name, None)
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    for name in (TOKEN_PATH, own_ray.ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR):
        monkeypatch.setenv(name, "")  # put back afterwards, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setattr(own_ray.ray_constants, "ENABLE_RAY_CLUSTER", True)
    monkeypatch.setattr(own_ray.ray, "is_initialized", lambda: False)
    settings.cache_clear()
    yield tmp_path / "state"
    settings.cache_clear()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Ray is asked for, and what it finds in the environment."""
    calls: list[dict[str, Any]] = []

    def init(**options: Any) -> None:
        calls.append(options | {TOKEN_PATH: os.environ.get(TOKEN_PATH)})

    monkeypatch.setattr(own_ray.ray, "init", init)
    return calls


def test_the_token_of_our_own_ray_is_for_its_user_alone(state: Path, given: list[dict[str, Any]]) -> None:
    for _ in range(2):
        own_ray.start_ray(None)
    token = Path(given[0][TOKEN_PATH])
    assert token.is_relative_to(state)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert len(token.read_text()) == 64
    assert [call["address"] for call in given] == ["local", "local"]
    assert [path.name for path in token.parent.iterdir()] == ["auth_token"]


@pytest.mark.parametrize(("free_gib", "for_engines_gib"), [(10, 8.8), (1, 1 / 1024)])
def test_engines_are_left_what_the_command_and_its_servers_do_not_take(
    state: Path,
    given: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    free_gib: float,
    for_engines_gib: float,
) -> None:
    monkeypatch.setattr(own_ray.utils, "estimate_available_memory", lambda: free_gib * 1024**3)
    own_ray.start_ray(None)
    assert given[0]["_memory"] / 1024**3 == pytest.approx(for_engines_gib, abs=0.01)


def test_a_token_that_others_may_read_is_closed_to_them(state: Path, given: list[dict[str, Any]]) -> None:
    (state / "ray").mkdir(parents=True)
    (state / "ray" / "auth_token").write_text("0" * 64)
    own_ray.start_ray(None)
    assert stat.S_IMODE(Path(given[0][TOKEN_PATH]).stat().st_mode) == 0o600


def test_a_token_that_the_user_names_is_used(
    state: Path, given: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_PATH, "/their/token")
    own_ray.start_ray(None)
    assert given[0][TOKEN_PATH] == "/their/token"


def test_a_cluster_that_is_joined_has_its_own_token_and_addresses(state: Path, given: list[dict[str, Any]]) -> None:
    own_ray.start_ray("head:6379")
    assert given == [given[0] | {"address": "head:6379", TOKEN_PATH: None}]
    assert own_ray.ray_constants.ENABLE_RAY_CLUSTER


@pytest.mark.processes
def test_our_own_ray_listens_on_the_loopback_interface_alone(tmp_path: Path) -> None:
    done = run_alone(REAL, tmp_path)
    assert done.returncode == 0, done.stderr
    *listening, niceness = done.stdout.splitlines()
    assert set(listening) == {"listens 127.0.0.1"}
    assert niceness == "niceness 0", "engines do not stand behind whatever else the machine does"
    assert not (tmp_path / ".ray").exists(), "Ray wrote a token of its own"


@pytest.mark.processes
def test_references_that_outlive_ray_do_not_end_the_process(tmp_path: Path) -> None:
    done = run_alone(REFERENCES_LEFT, tmp_path)
    assert (done.returncode, done.stdout) == (0, "goes on\n"), done.stderr


class OwnNode:
    """What Ray keeps of a node that this process has started."""

    def __init__(self, *ended: str) -> None:
        self._ended = ended

    def dead_processes(self) -> list[tuple[str, object]]:
        return [(kind, object()) for kind in self._ended]


@pytest.mark.parametrize("ended", ["raylet", "gcs_server"])
def test_a_ray_of_our_own_that_loses_what_engines_need_is_told(monkeypatch: pytest.MonkeyPatch, ended: str) -> None:
    monkeypatch.setattr(own_ray.worker, "_global_node", OwnNode("log_monitor", ended))
    with pytest.raises(EngineError, match=rf"has lost its {ended}: .*What is committed is kept"):
        own_ray.check_ray()


@pytest.mark.parametrize("node", [None, OwnNode(), OwnNode("log_monitor", "monitor")])
def test_what_no_engine_needs_may_end(monkeypatch: pytest.MonkeyPatch, node: OwnNode | None) -> None:
    monkeypatch.setattr(own_ray.worker, "_global_node", node)
    own_ray.check_ray()


@pytest.mark.prove
def test_a_run_whose_raylet_is_gone_ends_with_words_and_leaves_no_process(tmp_path: Path) -> None:
    done = run_alone(RAYLET_LOST, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\nRay, which this command started, has lost its raylet: " in done.stdout, done.stdout
    assert_nothing_left(tmp_path)
