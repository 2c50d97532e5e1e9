"""One process of a machine per run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.run_lock import is_held, sole_process, wait_for_sole_process
from pipelines.errors import ServiceError
from pipelines.settings import settings

HOLD = """
import sys, time
from flows.run_lock import sole_process
with sole_process("tickets", "/results/tickets"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path))
    settings.cache_clear()
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    settings.cache_clear()


@pytest.mark.processes
def test_a_second_process_is_told_who_has_the_run(holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ServiceError) as caught, sole_process("tickets", "/results/tickets"):
        pass
    assert str(caught.value) == (
        f"run tickets is being processed by another process of this machine (pid {holder.pid}); wait for it, or stop "
        "it: the next one goes on where it stood"
    )
    with sole_process("tickets", "/elsewhere/tickets"):
        pass  # a run of the same name in another place is another run


@pytest.mark.processes
def test_whoever_looks_sees_that_a_process_has_the_run_and_keeps_nobody_out(holder: subprocess.Popen[str]) -> None:
    assert is_held("/results/tickets")
    assert is_held("/elsewhere/tickets") is False
    os.kill(holder.pid, signal.SIGKILL)
    wait_for_sole_process("/results/tickets")
    assert is_held("/results/tickets") is False


@pytest.mark.processes
def test_a_killed_process_holds_nothing(holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    wait_for_sole_process("/results/tickets")
    with sole_process("tickets", "/results/tickets"):
        pass
