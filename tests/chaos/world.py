"""The servers of all chaos runs: S3 with its disturber, the batch service, Prefect, Ray. Started once, killed often."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import boto3

from flows.quiet import QUIET
from infra.local.s3 import Emulator, FaultProxy, Faults
from infra.local.s3.servers import REGION, ROOT_KEY, free_port
from tests.chaos import documents
from tests.chaos.ray_cluster import RayCluster
from tests.infra.message_batches_server import Server
from tests.scenarios.prefect_server import environment_of, running_server

# Runs in buckets of this name are disturbed: which requests, their names decide, and the names hold the seed.
STORMY = "storm"
CALM = "calm"
_FAULTS = Faults(
    unavailable=0.03, internal_errors=0.02, dropped=0.02, lost_replies=0.03, paths=(f"/{STORMY}-",), per_request=4
)
_CLAUDE_ERROR_RATE = "0.1"


class World:
    """Everything a run needs beside its own processes; as a context manager it is started and ended.

    Args:
        prefect_url: of a Prefect server that runs; None starts one.
    """

    def __init__(self, prefect_url: str | None = None) -> None:
        self._prefect_url = prefect_url
        self._stack = ExitStack()
        # Short: Ray's sockets lie below it.
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.callback(self._stack.close)
            self._start()
            starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        os.environ.update(QUIET | {"HF_HUB_OFFLINE": "1", "RAY_TMPDIR": str(self.folder)})
        self.emulator = self._stack.enter_context(Emulator(self.folder / "s3"))
        self._s3 = _client(self.emulator.endpoint)
        self.proxy = self._stack.enter_context(FaultProxy(self.folder / "proxy", self.emulator.endpoint, _FAULTS))
        os.environ.update(self.emulator.client_variables() | {"AWS_ENDPOINT_URL": self.proxy.endpoint})
        self.cluster = RayCluster()
        self._stack.callback(self.cluster.close)
        home = self.folder / "prefect"
        url = self._prefect_url or self._stack.enter_context(running_server(home)).url
        key = documents.write_answer_key(self.folder / "answers.jsonl")
        self._claude_options = (
            *("--port", str(free_port()), "--answer-key", str(key), "--error-rate", _CLAUDE_ERROR_RATE),
            *("--processing-seconds", "0.3"),
            "--exit-with-parent",
        )
        self.claude = Server(self.folder / "claude", *self._claude_options)
        self._stack.callback(lambda: self.claude.__exit__())
        os.environ.update(environment_of(url, home))
        os.environ.update(
            {
                "RAY_ADDRESS": self.cluster.address,
                "ANTHROPIC_API_KEY": "key",
                "ANTHROPIC_BASE_URL": self.claude.url,
                "SLUICE_POLL_SECONDS": "0.2",
            }
        )

    def kill_claude(self) -> None:
        """End the batch service."""
        self.claude.kill()
        self.claude.__exit__()

    def start_claude(self) -> None:
        """Start it again, on the same port and state."""
        self.claude = Server(self.folder / "claude", *self._claude_options)

    def make_bucket(self, name: str) -> None:
        """Make a run's bucket."""
        self._s3.create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Put an object, undisturbed."""
        self._s3.put_object(Bucket=bucket, Key=key, Body=body)

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object, undisturbed."""
        body: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """List keys, undisturbed; fewer than a thousand."""
        listed: dict[str, Any] = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", [])]


def _client(endpoint: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=ROOT_KEY, aws_secret_access_key=ROOT_KEY
    )
