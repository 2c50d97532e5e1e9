"""Keys from a terminal: what arrows send is one key, however many come at a time; no key is lost or made up."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator

import pytest

from flows.console.keys import DOWN, END, UP, Keyboard


@pytest.fixture
def terminal() -> Iterator[tuple[int, Keyboard]]:
    ours, theirs = pty.openpty()
    yield ours, Keyboard(theirs)
    for descriptor in (ours, theirs):
        os.close(descriptor)


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"1", ["1"]),
        (b"12s", ["1", "2", "s"]),
        (b" ", [DOWN]),
        (b"\x1b[B\x1b[B\x1b[A", [DOWN, DOWN, UP]),
        (b"\x1b[6~\x1b[5~b", [DOWN, UP, "b"]),
        (b"\x1b[1;5C\x1bOPq", ["q"]),  # keys of no use here
        ("é".encode(), ["é"]),
    ],
)
def test_each_key_is_one(terminal: tuple[int, Keyboard], typed: bytes, keys: list[str]) -> None:
    ours, keyboard = terminal
    assert keyboard.key() is None, "nothing was pressed"
    os.write(ours, typed)
    assert [keyboard.key() for _ in keys] == keys
    assert keyboard.key() is None


def test_a_terminal_that_is_gone_is_the_end() -> None:
    ours, theirs = pty.openpty()
    keyboard = Keyboard(theirs)
    assert keyboard.key() is None
    os.close(ours)
    assert keyboard.key() == END
    os.close(theirs)
