"""Ray nodes with addresses of their own on one machine: network namespaces on a bridge. For root only, on Linux.

Engines on them are the stand-in that starts at once. Nodes can be killed, cut off, and started again.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from infra.local.engine import STAND_IN

_BIN = Path(sys.executable).parent
_PORT = 6379
_START_SECONDS = 240
# A node that is cut off is given up after seconds, not a minute; read by the head.
_IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}
_QUIET = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "HF_HUB_OFFLINE": "1",
}


def why_not() -> str | None:
    """Why there can be no nodes here."""
    if not shutil.which("ip"):
        return "iproute2 is not installed: no network namespaces"
    name = f"sluice-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"this user may make no network namespaces: {made.stderr.strip()}"
    veth = subprocess.run(
        ["ip", "-n", name, "link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b"],
        capture_output=True,
        text=True,
        check=False,
    )
    _ip("netns", "del", name)
    return f"this kernel has no virtual links: {veth.stderr.strip()}" if veth.returncode else None


class Nodes:
    """Three places for nodes, numbered from 1; node 1 is the head."""

    def __init__(self, seconds_per_token: float | None) -> None:
        """With the engine stand-in, which takes that long, or with the real one."""
        self._name = f"sl{secrets.token_hex(2)}"  # a link's name has at most 15 letters
        stand_in = {"PYTHONPATH": str(STAND_IN), "ENGINE_STAND_IN_SECONDS_PER_TOKEN": str(seconds_per_token)}
        self._engine = {} if seconds_per_token is None else stand_in
        self._network = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}"
        self._folder = Path(tempfile.mkdtemp(prefix="nodes-"))  # short: the sockets of Ray lie below it

    def __enter__(self) -> Self:
        bridge = f"{self._name}b"
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{self._network}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number in (1, 2, 3):
            space, link = self._space(number), self._link(number)
            _ip("netns", "add", space)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", link, "master", bridge, "up")
            _ip("-n", space, "addr", "add", f"{self._network}.{number}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")
            # Ray takes for a machine's address what a packet to the outside would carry.
            _ip("-n", space, "route", "add", "default", "via", f"{self._network}.254")
        return self

    def __exit__(self, *_: object) -> None:
        for number in (1, 2, 3):
            self.kill(number)
            _ip("netns", "del", self._space(number))
        _ip("link", "del", f"{self._name}b")
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, number: int) -> None:
        """Start a node with room for one engine."""
        address = f"{self._network}.{number}"
        role = ["--head", f"--port={_PORT}", "--include-dashboard=false", f"--temp-dir={self._folder}/ray"]
        command = [
            *(str(_BIN / "ray"), "start", "--num-cpus=1", f"--node-ip-address={address}"),
            *(role if number == 1 else [f"--address={self._network}.1:{_PORT}"]),
            "--object-store-memory=150000000",
        ]
        environment = os.environ | _QUIET | _IMPATIENT | self._engine
        log = self._folder / f"node-{number}-{time.time_ns()}.txt"
        with log.open("w") as stream:  # not a pipe: what Ray leaves running would keep it open
            done = subprocess.run(
                self._inside(number, command), env=environment, stdout=stream, stderr=stream, timeout=_START_SECONDS
            )
        assert done.returncode == 0, log.read_text(errors="replace")[-3000:]

    def kill(self, number: int) -> None:
        """End every process of a node as a power cut would."""
        pids = subprocess.run(["ip", "netns", "pids", self._space(number)], capture_output=True, text=True, check=True)
        for pid in pids.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def cut_off(self, number: int) -> None:
        """Nothing reaches the node any more, and nothing comes from it."""
        _ip("link", "set", self._link(number), "down")

    def reconnect(self, number: int) -> None:
        """The link is there again; the node is not."""
        self.kill(number)
        _ip("link", "set", self._link(number), "up")

    def start_command(self, number: int, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Run `pipeline` on a node."""
        told = environment | _QUIET | {"RAY_ADDRESS": f"{self._network}.1:{_PORT}"}
        log = (self._folder / f"command-{time.time_ns()}.txt").open("wb")
        with log:
            return subprocess.Popen(
                self._inside(number, [str(_BIN / "pipeline"), *arguments]),
                env=told,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def last_words(self) -> str:
        """The end of what the last command said."""
        return sorted(self._folder.glob("command-*.txt"))[-1].read_text(errors="replace")[-4000:]

    def _inside(self, number: int, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self._space(number), *command]

    def _space(self, number: int) -> str:
        return f"{self._name}n{number}"

    def _link(self, number: int) -> str:
        return f"{self._name}v{number}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
