"""Requests side by side: in order, no further ahead than asked for, and nothing begun after an error."""

import threading
import time
from collections.abc import Iterator

import pytest

from pipelines.store.side_by_side import in_order


def test_results_come_in_the_order_of_what_was_given_whoever_is_first() -> None:
    assert list(in_order(lambda n: (time.sleep(0.01 * (5 - n)), n)[1], range(5))) == list(range(5))
    assert list(in_order(str, [])) == []


def test_some_are_done_at_a_time() -> None:
    all_there = threading.Barrier(4, timeout=20)
    assert len(list(in_order(lambda _: all_there.wait(), range(8), at_once=4))) == 8


def test_what_is_given_is_drawn_no_further_ahead_than_that() -> None:
    drawn: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            drawn.append(number)
            yield number

    results = in_order(lambda n: n, numbers(), at_once=3)
    assert next(results) == 0
    assert drawn == [0, 1, 2]
    results.close()


def test_the_first_error_is_raised_in_its_place_and_the_rest_is_not_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise ValueError("two")
        return number

    results = in_order(work, range(1_000), at_once=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert len(begun) < 10
