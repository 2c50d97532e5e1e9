"""Chaos, in short: every process killed once in `make test`, twenty seeds in `make prove`, 210 in `make chaos`."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.chaos.plan import Start, Victim, case_of
from tests.scenarios.pipeline_command import REPOSITORY
from tests.shared_servers import Variables

# Few runs in which every process dies at least once, while S3 fails: one starts by a drop, two by hand.
FEW = (6, 170, 313)
MANY = tuple(range(20))


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(FEW, marks=[pytest.mark.processes, pytest.mark.timeout(900)], id="few"),
        pytest.param(MANY, marks=[pytest.mark.prove, pytest.mark.timeout(3_600)], id="many"),
    ],
)
def test_nothing_is_lost_repeated_or_paid_twice_whatever_dies(seeds: tuple[int, ...], servers: Variables) -> None:
    """In a process of its own, because it sets the environment of all that it starts."""
    shared = ("--prefect-url", servers["PREFECT_API_URL"])
    command = [sys.executable, "-m", "tests.chaos.run", "--short", *shared, "--seeds", *map(str, seeds)]
    ran = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(ran.stdout)
    assert ran.returncode == 0
    assert ran.stdout.count(": ok in ") == len(seeds)
    assert "WRONG" not in ran.stdout


@pytest.mark.parametrize("seeds", [FEW, MANY])
def test_a_seed_is_one_case_and_every_process_has_its_turn(seeds: tuple[int, ...]) -> None:
    cases = [case_of(seed) for seed in seeds]
    assert cases == [case_of(seed) for seed in seeds]
    assert set(Counter(kill.victim for case in cases for kill in case.kills)) == set(Victim)
    assert {case.start for case in cases} == set(Start)
    assert any(case.is_stormy for case in cases)
