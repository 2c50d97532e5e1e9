"""The local message batches service as a subprocess, and the few calls tests make on it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx2
from anthropic import Anthropic
from anthropic.types.messages import MessageBatch

REPOSITORY = Path(__file__).resolve().parents[2]


class Server:
    """A running service; leaving the ``with`` block ends it."""

    def __init__(self, state: Path, *options: str) -> None:
        self.ready = self._start("--state", str(state), *options)
        self.url: str = self.ready["url"]
        self.http = httpx2.Client(base_url=self.url, timeout=130)
        self.client = Anthropic(api_key="key", base_url=self.url, max_retries=0, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.http.close()
        self._end()

    def _start(self, *options: str) -> Any:
        """Start the process; what it announces when it is ready."""
        command = [sys.executable, "-m", "infra.local.message_batches", *options]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            return json.loads(stdout.readline())

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)

    def kill(self) -> None:
        """End the service as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def control(self, name: str, body: object = None) -> Any:
        """Call a control route: GET without a body, POST with one."""
        path = f"/_control/{name}"
        response = self.http.get(path) if body is None else self.http.post(path, json=body)
        response.raise_for_status()
        return response.json()

    def fault(self, at: str, kind: str, **rest: object) -> None:
        """Switch one fault on."""
        self.control("faults", [{"at": at, "kind": kind, **rest}])

    def ended(self, batch_id: str) -> MessageBatch:
        """Wait until the batch has ended."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            batch = self.client.messages.batches.retrieve(batch_id)
            if batch.processing_status == "ended":
                return batch
            time.sleep(0.01)
        raise AssertionError(f"{batch_id} did not end")
