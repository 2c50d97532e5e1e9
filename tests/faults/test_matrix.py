"""The short fault matrix: every fault once, with a process killed at one of the points where it can die."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
def test_nothing_is_lost_repeated_or_paid_twice_whatever_fails() -> None:
    """In a process of its own: its cases are forks, which must not inherit the threads of other tests."""
    command = [sys.executable, "-m", "tests.faults.matrix", "--short"]
    ran = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(ran.stdout)
    assert ran.returncode == 0
    assert "WRONG" not in ran.stdout
