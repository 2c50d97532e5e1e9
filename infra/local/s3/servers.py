"""Local servers as processes that can be stopped, killed and started again on the same port and data.

In: a folder, and a port or none. Out: an endpoint that answers. MiniStack is the usual one (S3, SQS, IAM, STS,
CloudFormation); moto, written apart from it, is the second opinion. Both listen on 127.0.0.1 only.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import httpx2

from infra.local.s3.tool_environments import ToolError, tool_python

HOST = "127.0.0.1"
REGION = "us-east-1"
ROOT_KEY = "test"  # MiniStack lets this key do everything, with this secret
_TOOL_PROCESS = Path(__file__).with_name("tool_process.py")
_START_SECONDS = 300  # what a busy machine may need
_STOP_SECONDS = 10
_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 2
_PORT_TRIES = 5


class Server(ABC):
    """One server process. As a context manager it is started, and stopped at the end."""

    tool: str
    entry_point: str

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self._is_port_given = port is not None
        self._port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it answers; the same after every restart."""
        return f"http://{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The process to kill, for those who choose one at random."""
        assert self._process is not None
        return self._process.pid

    def python(self) -> Path:
        """The interpreter that runs it: of the tool's own environment."""
        return tool_python(self.tool)

    @abstractmethod
    def arguments(self) -> list[str]:
        """The command line after the tool's name."""

    @abstractmethod
    def variables(self) -> dict[str, str]:
        """The whole environment: nothing of ours may reach the tool, our AWS keys least."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ToolError: it ended instead, with the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(1 if self._is_port_given else _PORT_TRIES):
            self._process = self._spawn()
            if self._wait():
                self._is_port_given = True  # who knows the endpoint must find it there after a restart
                return self
            if not self._is_port_given:  # somebody else took the port since it was found free
                self._port = free_port()
        raise ToolError(f"{self.tool} does not start on {self.endpoint}: {self._log().read_text()[-2000:]}")

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind and not issubclass(kind, Exception):  # Ctrl-C: an orderly end takes seconds
            self.kill()
        else:
            self.stop()

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            str(self.python()),
            str(_TOOL_PROCESS),
            str(os.getpid()),
            self.entry_point,
            *self.arguments(),
        ]
        environment = {"PATH": os.defpath, "HOME": str(self.folder), "PYTHONUNBUFFERED": "1", **self.variables()}
        with self._log().open("wb") as log:
            return subprocess.Popen(  # noqa: S603  # our own words
                command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _wait(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.is_ready():
                return self._process.poll() is None
            time.sleep(_POLL_SECONDS)
        self.kill()
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _log(self) -> Path:
        return self.folder / f"{self.tool}.log"

    def _answers(self, path: str) -> bool:
        try:
            return httpx2.get(self.endpoint + path, timeout=_ANSWER_SECONDS, trust_env=False).is_success
        except httpx2.TransportError:
            return False


class ObjectServer(Server):
    """A local server that speaks S3."""

    def client_variables(self) -> dict[str, str]:
        """What a client must find in its environment to come here as the root user."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
            # pyarrow's default checksum, worked out in pure Python by MiniStack, makes writes ten times slower.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }


class Emulator(ObjectServer):
    """MiniStack. Objects outlive a kill; queues and users outlive a stop only.

    Args:
        folder: where its data and its log lie; the same folder again is the same account again.
        port: to listen on; None takes a free one.
        auth: check signatures and policies of keys made with IAM, as AWS does.
    """

    tool = "ministack"
    entry_point = "ministack.app:main"

    def __init__(self, folder: Path, *, port: int | None = None, auth: bool = False) -> None:
        super().__init__(folder, port=port)
        self._auth = auth

    def reset(self) -> None:
        """Delete all buckets and queues."""
        httpx2.post(f"{self.endpoint}/_ministack/reset", timeout=30, trust_env=False).raise_for_status()

    def arguments(self) -> list[str]:
        """None: it takes variables only."""
        return []

    def variables(self) -> dict[str, str]:
        """Every service is on: CloudFormation needs them."""
        return {
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(self._port),
            "MINISTACK_HOST": HOST,
            "MINISTACK_REGION": REGION,
            "AUTH": str(self._auth).lower(),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.folder / "state"),
        }

    def is_ready(self) -> bool:
        """By its own health page."""
        return self._answers("/_ministack/health")


class MotoServer(ObjectServer):
    """moto. Everything is in memory and gone with the process."""

    tool = "moto"
    entry_point = "moto.server:main"

    def arguments(self) -> list[str]:
        """Where to listen."""
        return ["-H", HOST, "-p", str(self._port)]

    def variables(self) -> dict[str, str]:
        """None."""
        return {}

    def is_ready(self) -> bool:
        """By its own page."""
        return self._answers("/moto-api/data.json")


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
