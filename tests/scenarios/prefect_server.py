"""A real Prefect server and a real process worker, with everything they keep in a folder of the test session."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:  # most tests need no Prefect, which takes a second to import
    from prefect.client.orchestration import SyncPrefectClient

# Of a server that has just started: its tables, and nothing in them.
_DATABASE = Path(__file__).resolve().parents[2] / ".cache" / f"prefect-{version('prefect')}.db"
_PREFECT = Path(sys.executable).parent / "prefect"
_START_SECONDS = 240  # on a busy machine
WORK_POOL = "tests"


@dataclass
class PrefectServer:
    """A server on a free port of this machine."""

    home: Path
    url: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find the server."""
        return environment_of(self.url, self.home)

    def client(self) -> SyncPrefectClient:
        from prefect.client.orchestration import SyncPrefectClient

        return SyncPrefectClient(self.url)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """One for all tests: it takes eight seconds to start."""
    with running_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


def environment_of(url: str, home: Path) -> dict[str, str]:
    """What a command needs to find the server at ``url``; it keeps its own things in ``home``."""
    return _environment(home) | {"PREFECT_API_URL": url}


def _environment(home: Path) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": "127.0.0.1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_API_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    }


def prepare_database(home: Path) -> None:
    """Give a server below ``home`` the tables that another has made: making them takes four seconds of a core."""
    home.mkdir(parents=True, exist_ok=True)
    if _DATABASE.exists() and not (home / "prefect.db").exists():
        shutil.copy(_DATABASE, home / "prefect.db")


def _keep_database(home: Path) -> None:
    if not _DATABASE.exists():
        _DATABASE.parent.mkdir(exist_ok=True)
        copy = _DATABASE.with_suffix(f".{os.getpid()}")
        with closing(sqlite3.connect(home / "prefect.db")) as made, closing(sqlite3.connect(copy)) as kept:
            made.backup(kept)
        copy.replace(_DATABASE)


@contextmanager
def running_server(home: Path) -> Iterator[PrefectServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command: list[str | Path] = [_PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    prepare_database(home)
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | _environment(home), stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_healthy(url, process, home / "server.log")
        _keep_database(home)
        yield PrefectServer(home, url, process)
    finally:
        end(process)


@contextmanager
def running_worker(server: PrefectServer, state_dir: Path, pool: str = WORK_POOL) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the pool; what it starts keeps its state in ``state_dir``."""
    command: list[str | Path] = [_PREFECT, "worker", "start", "--pool", pool, "--type", "process"]
    environment = os.environ | server.environment | {"SLUICE_STATE_DIR": str(state_dir), "HF_HUB_OFFLINE": "1"}
    with (server.home / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its group; the flow processes that a worker starts are in its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _wait_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(
        f"the Prefect server is not up after {_START_SECONDS} s\n{log.read_text(errors='replace')[-3000:]}"
    )
