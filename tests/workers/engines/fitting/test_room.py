"""How many engines find room on machines, by their cards, cores and memory, and what Ray is asked for."""

from __future__ import annotations

import pytest

from workers.engines.fitting.machines import GIB, Machine
from workers.engines.fitting.room import Needs, room

CARD = 80 * GIB
THREE_GIB = 3 * GIB


def cards(count: int) -> Machine:
    return Machine("node", 16, 128 * GIB, (CARD,) * count)


def cores(count: float, gib: float | None) -> Machine:
    return Machine("node", count, None if gib is None else int(gib * GIB))


@pytest.mark.parametrize(("size", "engines"), [(1, 6), (2, 2), (3, 2), (4, 0), (0.5, 12)])
def test_groups_of_gpus_are_counted_machine_by_machine(size: float, engines: int) -> None:
    assert room([cards(3), cards(3)], Needs("gpu", size)) == engines


@pytest.mark.parametrize(
    ("machines", "engines"),
    [
        ([cores(16, 12)], 4),  # a laptop of many cores
        ([cores(2, 24)], 2),
        ([cores(8, 4), cores(8, 4)], 2),  # what is left over on two machines makes no third
        ([cores(8, None)], 8),  # nobody says what it has
        ([cores(8, 2)], 0),
    ],
)
def test_engines_on_cpus_are_no_more_than_memory_holds(machines: list[Machine], engines: int) -> None:
    assert room(machines, Needs("cpu", 1, THREE_GIB)) == engines


def test_on_too_small_a_machine_one_engine_is_tried_all_the_same() -> None:
    small = [cores(8, 2), cores(8, 1), cores(0, 60)]  # the last is a head without a core to give
    needs = Needs("cpu", 1, THREE_GIB).on_the_largest(small)
    assert needs == Needs("cpu", 1, 2 * GIB)
    assert room(small, needs) == 1
    assert needs.as_resources() == {"num_cpus": 1, "memory": 2 * GIB}


def test_of_a_machine_that_does_not_say_what_it_has_no_memory_is_asked() -> None:
    needs = Needs("cpu", 1, THREE_GIB).on_the_largest([cores(4, 64), cores(4, None)])
    assert needs.as_resources() == {"num_cpus": 1}
    assert Needs("gpu", 2, THREE_GIB).as_resources() == {"num_gpus": 2, "num_cpus": 1}


@pytest.mark.parametrize(("wanted", "is_told"), [(None, True), (5, True), (4, False), (1, False)])
def test_it_is_told_where_memory_keeps_engines_out(wanted: int | None, is_told: bool) -> None:
    told = Needs("cpu", 1, THREE_GIB).short_of_memory([cores(16, 12)], wanted)
    words = "no more, by memory: 12.0 GiB are free and one takes 3.0; there are cores for 16"
    assert told == (words if is_told else None)
