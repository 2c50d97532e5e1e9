"""Requests side by side: a store answers one in milliseconds and takes many at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

# So many requests of 25 ms answer 600 times a second. Their results wait to be taken: this bounds memory, too.
_AT_ONCE = 16


def in_order(work: Callable[[Given], Made], given: Iterable[Given], at_once: int = _AT_ONCE) -> Iterator[Made]:
    """Do ``work`` for each of ``given``, some at a time; results come in the order of what was given.

    What is given is drawn no further ahead than ``at_once``. The first error is raised in its place; what was begun by
    then is finished, the rest is not begun.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="store") as executor:
        try:
            for each in given:
                waiting.append(executor.submit(work, each))
                if len(waiting) == at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)
