"""A proxy in front of an S3 server that disturbs some of the requests, the same ones for the same seed.

mitmproxy carries the requests; ``fault_addon.py``, which runs inside it, decides about each.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from infra.local.s3.servers import HOST, Server

_ADDON = Path(__file__).with_name("fault_addon.py")


@dataclass(frozen=True, slots=True)
class Faults:
    """How often which fault meets a request; each is a probability, and one request meets at most one.

    ``dropped`` ends the connection before the server hears of the request, ``lost_replies`` after it has done the
    work. Only requests of ``methods`` whose path starts with one of ``paths`` are touched, and each method and path
    at most ``per_request`` times, so that a client that keeps trying gets through.
    """

    unavailable: float = 0.0
    internal_errors: float = 0.0
    dropped: float = 0.0
    lost_replies: float = 0.0
    seed: int = 0
    paths: tuple[str, ...] = ("/",)
    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    per_request: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What was done to one request."""

    fault: str
    method: str
    path: str


class FaultProxy(Server):
    """Stands in front of ``upstream``, an endpoint; clients go to its own ``endpoint``."""

    tool = "mitmproxy"
    entry_point = "mitmproxy.tools.main:mitmdump"

    def __init__(self, folder: Path, upstream: str, faults: Faults, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self._upstream = upstream
        self._faults = faults

    def start(self) -> Self:
        """Start it and wait until it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "faults.json").write_text(json.dumps(asdict(self._faults)), encoding="utf-8")
        return super().start()

    def arguments(self) -> list[str]:
        """``keep_host_header``: the host is part of what the client has signed."""
        options = {"keep_host_header": "true", "confdir": str(self.folder), "fault_folder": str(self.folder)}
        return [
            *("-q", "--listen-host", HOST, "--listen-port", str(self._port)),
            *("--mode", f"reverse:{self._upstream}", "--scripts", str(_ADDON)),
            *(word for name, value in options.items() for word in ("--set", f"{name}={value}")),
        ]

    def variables(self) -> dict[str, str]:
        """None."""
        return {}

    def is_ready(self) -> bool:
        """Whether it takes connections; a request would reach the server behind it."""
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self._port)) == 0

    def disturbances(self) -> list[Disturbance]:
        """What it has done so far."""
        log = self.folder / "disturbances.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [Disturbance(**json.loads(line)) for line in lines]
