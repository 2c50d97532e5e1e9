"""The anthropic SDK's own batch tests, run against the local service: a judge that we did not write.

The tests lie only in the SDK's source distribution. It is fetched with pip into the ignored ``.cache/`` together
with the tools they need, once; later runs need no network. Nothing of it is committed.
"""

import os
import re
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.message_batches_server import Server

REPOSITORY = Path(__file__).resolve().parents[2]
SDK = "anthropic-2.12.0"
CACHE = REPOSITORY / ".cache" / "sdk-suite" / SDK
SUITES = ("tests/api_resources/messages/test_batches.py", "tests/api_resources/beta/messages/test_batches.py")
EXPECTED = 252  # 126 tests, twice: plain and beta; each loose and strict, sync and async
# What the SDK's requirements-dev.lock of 2.12.0 names, for the two files alone.
TOOLS = (
    "anthropic[aiohttp]==2.12.0",
    "pytest==9.0.3",
    "pytest-asyncio==1.3.0",
    "pytest-xdist==3.8.0",
    "respx==0.22.0",
    "http-snapshot[httpx]==0.1.9",
    "inline-snapshot==0.32.5",
    "time-machine==3.2.0",
    "dirty-equals==0.11",
)

pytestmark = [pytest.mark.prove, pytest.mark.conformance, pytest.mark.timeout(600)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "state", "--conformance") as server:
        yield server


def test_all_batch_tests_of_the_sdk_pass(server: Server) -> None:
    python = _tool_python()
    environment = os.environ | {"TEST_API_BASE_URL": server.url, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [python, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", *SUITES]
    outcome = subprocess.run(command, cwd=_sources(), env=environment, text=True, capture_output=True, check=False)
    summary = outcome.stdout[-3000:] + outcome.stderr[-1000:]
    assert outcome.returncode == 0, summary
    assert re.search(rf"\b{EXPECTED} passed", outcome.stdout), summary


def _sources() -> Path:
    """The unpacked source distribution."""
    folder = CACHE / "source" / SDK
    if not folder.exists():
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "anthropic", "-q"]
        _run([*download, "--dest", str(CACHE), SDK.replace("-", "==")])
        with tarfile.open(CACHE / f"{SDK}.tar.gz") as archive:
            archive.extractall(CACHE / "source", filter="data")
    return folder


def _tool_python() -> str:
    """The interpreter of a virtual environment that holds the SDK and what its tests import."""
    folder = CACHE / "venv"
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    wanted = "\n".join(TOOLS)
    if not installed.exists() or installed.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        _run([str(python), "-m", "pip", "install", "-q", *TOOLS])
        installed.write_text(wanted)
    return str(python)


def _run(command: list[str]) -> None:
    outcome = subprocess.run(command, text=True, capture_output=True, check=False)
    if outcome.returncode != 0:
        pytest.skip(f"the SDK's tests cannot be fetched here: {outcome.stderr[-500:]}")
