"""The fault matrix: in `make test` every fault once, in `make prove` at every point of death, once and three times."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--short"], marks=[pytest.mark.processes, pytest.mark.timeout(600)], id="short"),
        pytest.param([], marks=[pytest.mark.prove, pytest.mark.timeout(3_600)], id="whole"),
    ],
)
def test_nothing_is_lost_repeated_or_paid_twice_whatever_fails(options: list[str]) -> None:
    """In a process of its own: its cases are forks, which must not inherit the threads of other tests."""
    command = [sys.executable, "-m", "tests.faults.matrix", *options]
    ran = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(ran.stdout)
    assert ran.returncode == 0
    assert "WRONG" not in ran.stdout
