"""Chaos, in short: twenty seeds. `make chaos` runs ten times as many."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.chaos.plan import Victim, case_of
from tests.scenarios.pipeline_command import REPOSITORY

RUNS = 20


@pytest.mark.timeout(900)
def test_nothing_is_lost_repeated_or_paid_twice_whatever_dies() -> None:
    """In a process of its own, because it sets the environment of all that it starts."""
    command = [sys.executable, "-m", "tests.chaos.run", "--runs", str(RUNS), "--short"]
    ran = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(ran.stdout)
    assert ran.returncode == 0
    assert ran.stdout.count(": ok in ") == RUNS
    assert "WRONG" not in ran.stdout


def test_a_seed_is_one_case_and_every_process_has_its_turn() -> None:
    cases = [case_of(seed) for seed in range(RUNS)]
    assert cases == [case_of(seed) for seed in range(RUNS)]
    killed = Counter(kill.victim for case in cases for kill in case.kills)
    assert set(killed) == set(Victim)
