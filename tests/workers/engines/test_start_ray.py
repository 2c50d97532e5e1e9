"""A Ray of our own: nobody else on the network or the machine reaches it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings import settings
from workers.engines import pool

TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"

REAL = """
import psutil, ray
from workers.engines.pool import start_ray

start_ray(None)
mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
for process in mine:
    for connection in process.net_connections():
        if connection.status == "LISTEN":
            print("listens", connection.laddr.ip.removeprefix("::ffff:"))
ray.get(ray.remote(lambda: None).remote())
print("answers")
ray.shutdown()
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    for name in (TOKEN_PATH, pool.ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR):
        monkeypatch.setenv(name, "")  # put back afterwards, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setattr(pool.ray_constants, "ENABLE_RAY_CLUSTER", True)
    monkeypatch.setattr(pool.ray, "is_initialized", lambda: False)
    settings.cache_clear()
    yield tmp_path / "state"
    settings.cache_clear()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Ray is asked for, and what it finds in the environment."""
    calls: list[dict[str, Any]] = []

    def init(**options: Any) -> None:
        calls.append(options | {TOKEN_PATH: os.environ.get(TOKEN_PATH)})

    monkeypatch.setattr(pool.ray, "init", init)
    return calls


def test_the_token_of_our_own_ray_is_for_its_user_alone(state: Path, given: list[dict[str, Any]]) -> None:
    for _ in range(2):
        pool.start_ray(None)
    token = Path(given[0][TOKEN_PATH])
    assert token.is_relative_to(state)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert len(token.read_text()) == 64
    assert [call["address"] for call in given] == ["local", "local"]
    assert [path.name for path in token.parent.iterdir()] == ["auth_token"]


def test_a_token_that_others_may_read_is_closed_to_them(state: Path, given: list[dict[str, Any]]) -> None:
    (state / "ray").mkdir(parents=True)
    (state / "ray" / "auth_token").write_text("0" * 64)
    pool.start_ray(None)
    assert stat.S_IMODE(Path(given[0][TOKEN_PATH]).stat().st_mode) == 0o600


def test_a_token_that_the_user_names_is_used(
    state: Path, given: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_PATH, "/their/token")
    pool.start_ray(None)
    assert given[0][TOKEN_PATH] == "/their/token"


def test_a_cluster_that_is_joined_has_its_own_token_and_addresses(state: Path, given: list[dict[str, Any]]) -> None:
    pool.start_ray("head:6379")
    assert given == [given[0] | {"address": "head:6379", TOKEN_PATH: None}]
    assert pool.ray_constants.ENABLE_RAY_CLUSTER


@pytest.mark.processes
def test_our_own_ray_listens_on_the_loopback_interface_alone(tmp_path: Path) -> None:
    environment = os.environ | {"SLUICE_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)}
    del environment["RAY_AUTH_MODE"]  # of the tests' own Ray
    command = [sys.executable, "-c", REAL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    lines = done.stdout.split()
    assert lines[-1] == "answers"
    assert set(lines[1:-1:2]) == {"127.0.0.1"}
    assert not (tmp_path / ".ray").exists(), "Ray wrote a token of its own"
