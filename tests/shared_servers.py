"""Servers that all tests of a session share, whichever process of pytest-xdist asks for one first.

Each is started once, by a keeper process of its own (`python -m tests.shared_servers NAME FOLDER OWNER_PID`), because
the process that asked first may be the first to end. A keeper writes down how to reach its server, and ends with the
test session, however that ends.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock

from infra.local.engine import STAND_IN
from infra.local.s3 import Emulator, MotoServer
from infra.local.s3.servers import free_port
from tests.command_forks import READY
from tests.scenarios.prefect_server import running_server

REPOSITORY = Path(__file__).resolve().parents[1]
_BIN = Path(sys.executable).parent
# The folder of this test session; set by the process that the user started, inherited by those of pytest-xdist.
_FOLDER_VARIABLE, _OWNER_VARIABLE = "SLUICE_TEST_SERVERS", "SLUICE_TEST_OWNER"
_START_SECONDS = 240
_STOP_SECONDS = 20
_LOOK_SECONDS = 0.1
# Engines of several runs fit beside each other; none of them computes.
_RAY_CPUS = 6
# So that there is something to kill.
_SECONDS_PER_TOKEN = "0.003"

Variables = dict[str, str]
# Python complains of a child that nobody holds any more.
_started: list[subprocess.Popen[bytes]] = []


def open_session() -> None:
    """Make the session's folder; once, before pytest-xdist starts its processes."""
    os.environ[_FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="tests-")  # short: the sockets of Ray lie below it
    os.environ[_OWNER_VARIABLE] = str(os.getpid())


def close_session() -> None:
    """End every keeper, and remove the folder."""
    folder = Path(os.environ.pop(_FOLDER_VARIABLE))
    for noted in folder.glob("*.pid"):
        _end(int(noted.read_text()))
    shutil.rmtree(folder, ignore_errors=True)


def variables_of(name: str) -> Variables:
    """Environment variables that lead to the server of that name, which is started if it is not running."""
    folder = Path(os.environ[_FOLDER_VARIABLE])
    answer = folder / f"{name}.json"
    with FileLock(folder / f"{name}.lock"):
        if not answer.exists():
            _start(name, folder, answer)
    variables: Variables = json.loads(answer.read_text())
    return variables


def _start(name: str, folder: Path, answer: Path) -> None:
    command = [sys.executable, "-m", "tests.shared_servers", name, str(folder), os.environ[_OWNER_VARIABLE]]
    log = folder / f"{name}.log"
    # Not what a test before may have set in its process: Ray, told to keep to itself, would not be found.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    with log.open("wb") as stream:
        keeper = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    _started.append(keeper)
    (folder / f"{name}.pid").write_text(str(keeper.pid))
    deadline = time.monotonic() + _START_SECONDS
    while not answer.exists():
        assert keeper.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        time.sleep(_LOOK_SECONDS)


def _end(keeper: int) -> None:
    """Have a keeper end its server; where it does not, end the whole group."""
    deadline = time.monotonic() + _STOP_SECONDS
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        process = psutil.Process(keeper)
        process.terminate()
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                os.killpg(keeper, signal.SIGKILL)
            time.sleep(_LOOK_SECONDS)


@contextmanager
def _prefect(folder: Path) -> Iterator[Variables]:
    with running_server(folder) as server:
        yield {"PREFECT_API_URL": server.url, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}


@contextmanager
def _emulator(folder: Path) -> Iterator[Variables]:
    with Emulator(folder) as server:
        yield server.client_variables()


@contextmanager
def _moto(folder: Path) -> Iterator[Variables]:
    with MotoServer(folder) as server:
        yield server.client_variables()


@contextmanager
def _ray(folder: Path) -> Iterator[Variables]:
    """A node whose engines are the stand-in that starts at once."""
    port = free_port()
    command: list[str | Path] = [
        *(_BIN / "ray", "start", "--head", "--block", f"--num-cpus={_RAY_CPUS}", f"--port={port}"),
        *("--node-ip-address=127.0.0.1", "--include-dashboard=false", "--object-store-memory=150000000"),
        f"--memory={_RAY_CPUS * 4 * 1024**3}",  # the stand-in takes next to none of what it is said to
        f"--temp-dir={folder}",
    ]
    quiet = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "RAY_worker_niceness": "0",
    }
    engine = {"PYTHONPATH": str(STAND_IN), "ENGINE_STAND_IN_SECONDS_PER_TOKEN": _SECONDS_PER_TOKEN}
    environment = os.environ | quiet | engine
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if re.search("Ray runtime started|--block", line):
                break
        else:
            raise AssertionError("the Ray node does not start")
        try:
            yield {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_AUTH_MODE": "disabled"}
        finally:
            process.terminate()


@contextmanager
def _commands(folder: Path) -> Iterator[Variables]:
    """What forks the `pipeline` command."""
    path = folder.with_suffix(".socket")
    command = [sys.executable, "-m", "tests.command_forks", str(path)]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "HF_HUB_OFFLINE": "1"}  # as of the shared Ray node
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == READY
        try:
            yield {"forks": str(path)}
        finally:
            process.kill()


_SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[Variables]]] = {
    "prefect": _prefect,
    "emulator": _emulator,
    "moto": _moto,
    "ray": _ray,
    "commands": _commands,
}


def _keep(name: str, folder: Path, owner: int) -> None:
    """Run a server until told to end, or the owner of the session is gone."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    with _SERVERS[name](folder / name) as variables:
        answer = folder / f"{name}.json"
        answer.with_suffix(".new").write_text(json.dumps(variables))
        answer.with_suffix(".new").rename(answer)
        while not told and psutil.pid_exists(owner):
            time.sleep(_LOOK_SECONDS * 5)


if __name__ == "__main__":
    _keep(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
