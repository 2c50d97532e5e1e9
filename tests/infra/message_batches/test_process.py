"""The process of the local message batches service: killed, stopped, started twice, left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.infra.message_batches.label_requests import TEXTS, create, params, rows
from tests.infra.message_batches_server import REPOSITORY, Server

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]


def test_a_killed_service_goes_on_from_its_state(tmp_path: Path, key_file: Path) -> None:
    options = ("--answer-key", str(key_file), "--error-rate", "0")
    with Server(tmp_path, *options, "--processing-seconds", "3600") as server:
        waiting = create(server, 40)
        server.fault("retrieve", "503", times=1)
        server.control("clock", {"advance_seconds": 1800})
        server.kill()
    with Server(tmp_path, *options) as server:
        with pytest.raises(anthropic.ServiceUnavailableError):
            server.client.messages.batches.retrieve(waiting.id)
        assert server.client.messages.batches.retrieve(waiting.id).processing_status == "in_progress"
        server.control("clock", {"advance_seconds": 1801})
        assert len(rows(server, waiting.id)) == 40
        bill = server.control("billing")["custom_ids"]
        assert {entry["count"] for entry in bill.values()} == {1}
        assert [entry["method"] for entry in server.control("log")["requests"]].count("POST") == 1


def test_kill_in_the_middle_of_processing_bills_no_row_twice(tmp_path: Path, key_file: Path) -> None:
    options = ("--answer-key", str(key_file), "--error-rate", "0")
    requests: Any = [{"custom_id": f"r-{i}", "params": params(TEXTS[i % 40])} for i in range(3000)]
    with Server(tmp_path, *options) as server:
        server.fault("process", "refusal", times=5)
        batch = server.client.messages.batches.create(requests=requests)
        while not server.control("billing")["total"]["count"]:
            time.sleep(0.005)
        server.kill()
    with Server(tmp_path, *options) as server:
        results = rows(server, batch.id)
        bill = server.control("billing")
    assert len(results) == bill["total"]["count"] == 3000
    assert sum(row["message"]["stop_reason"] == "refusal" for row in results.values()) == 5


def test_sigterm_ends_cleanly_and_a_second_service_is_kept_out(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert json.loads((tmp_path / "endpoint.json").read_text()) == server.ready
        assert server.ready == {"url": server.url, "pid": server.process.pid, "simulation": True}
        command = [sys.executable, "-m", "infra.local.message_batches", "--state", str(tmp_path)]
        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=20)
        assert (second.returncode, second.stdout) == (1, "")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_service_ends_with_its_parent(tmp_path: Path) -> None:
    child = [sys.executable, "-m", "infra.local.message_batches", "--state", str(tmp_path), "--exit-with-parent"]
    parent = f"import subprocess, time; subprocess.Popen({child!r}); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        pid = json.loads(process.stdout.readline())["pid"]
        process.kill()
    deadline = time.monotonic() + 10
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    """Whether the process lives; one that ended but was not yet waited for by its new parent does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
