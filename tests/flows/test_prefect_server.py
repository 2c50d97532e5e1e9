"""Prefect's temporary server: what is said when it does not come, and when it goes."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.prefect_server import _wait_until_healthy, prefect_at_hand
from pipelines.errors import ServiceError

pytestmark = pytest.mark.processes


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield started
    started.kill()
    started.wait()


def test_a_server_that_is_too_slow_is_a_failing_service_with_the_next_move(process: subprocess.Popen[bytes]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,  # takes the question, and never answers
        pytest.raises(ServiceError, match=r"did not start in 0 s\. Run the same command again.*PREFECT_API_URL"),
    ):
        _wait_until_healthy(process, f"http://127.0.0.1:{listener.getsockname()[1]}/api", 0.3, answer_seconds=0.1)


def test_a_server_that_ends_is_told_at_once(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with pytest.raises(ServiceError, match=r"ended with exit code -9; its words are in the log"):
        _wait_until_healthy(process, "http://127.0.0.1:9/api", 600)


def test_a_server_that_is_lost_in_the_middle_is_no_unexpected_error() -> None:
    progress = ProgressReporter(Console(quiet=True))
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9/api does not answer as it should \(ConnectError"),
        prefect_at_hand(progress),
    ):
        raise httpx.ConnectError("All connection attempts failed")
