"""What becomes of the tests of a process that dies: one fails, the others run elsewhere, and nobody waits for ever."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.spreading import ByModule

TESTS = [f"tests/test_{module}.py::test_{number}" for module in "abc" for number in range(3)]


class Process:
    """A worker of pytest-xdist, as its scheduler sees it."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.given: list[str] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        assert indices, "a process that gets nothing waits for ever"
        self.given += [TESTS[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


def started(*processes: Process) -> ByModule:
    config: Any = SimpleNamespace(
        option=SimpleNamespace(loadscopereorder=False, debug=False, verbose=0),
        getoption=lambda *_: None,
        getvalue=lambda _: ["popen"] * len(processes),
    )
    scheduler = ByModule(config)
    for process in processes:
        scheduler.add_node(process)
        scheduler.add_node_collection(process, TESTS)
    scheduler.schedule()
    return scheduler


def finish(scheduler: ByModule, process: Any, most: int = len(TESTS)) -> None:
    for number in range(most):
        if number == len(process.given):
            break
        scheduler.mark_test_complete(process, TESTS.index(process.given[number]))


def test_the_test_in_which_a_process_died_is_not_tried_again_and_the_others_are() -> None:
    one, other = Process("one"), Process("other")
    scheduler = started(one, other)
    died_in = one.given[1]
    finish(scheduler, one, most=1)
    assert scheduler.remove_node(one) == died_in
    finish(scheduler, other)
    assert sorted({*other.given, one.given[0], died_in}) == TESTS
    assert died_in not in other.given
    assert other.shutting_down, "it begins its last test once it is told so"


def test_a_replacement_gets_what_is_left_and_its_end() -> None:
    one = Process("one")
    scheduler = started(one)
    finish(scheduler, one, most=2)
    scheduler.remove_node(one)
    replacement = Process("replacement")
    scheduler.add_node(replacement)
    scheduler.add_node_collection(replacement, TESTS)
    scheduler.schedule()
    finish(scheduler, replacement)
    assert sorted(replacement.given) == TESTS[3:]
    assert replacement.shutting_down


def test_a_process_that_has_done_all_it_was_given_leaves_nothing() -> None:
    one, other = Process("one"), Process("other")
    scheduler = started(one, other)
    finish(scheduler, one)
    finish(scheduler, other)
    assert scheduler.remove_node(one) is None
