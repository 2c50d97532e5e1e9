"""Single keys of a person at the terminal, whose settings are put back however the command ends."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.control import Control

from flows.console.interruption import interruption

UP, DOWN, END = "up", "down", "end"
# What terminals send for keys that have no letter; others are no key of ours.
_NAMED = {"\x1b[A": UP, "\x1b[5~": UP, "\x1b[D": UP, "\x1b[B": DOWN, "\x1b[6~": DOWN, "\x1b[C": DOWN, " ": DOWN}
_KEY = re.compile(r"\x1b\[[\d;?]*.|\x1bO.|.", re.DOTALL)
_LOOK_SECONDS = 0.3  # for a window that has another size now, and after Ctrl-Z


class Keyboard:
    """Keys, one by one, without Enter and without an echo."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._typed: deque[str] = deque()

    def key(self) -> str | None:
        """The next key; `END` where the terminal is gone; None if none was pressed within a moment."""
        if not self._typed:
            try:
                read = self._read()
            except (OSError, termios.error):  # how Linux tells that the other end is closed
                read = ""
            self._typed.extend(_keys(read or "") if read != "" else [END])
        return self._typed.popleft() if self._typed else None

    def _read(self) -> str | None:
        """What was typed; empty at the terminal's end, None where nothing is for a moment."""
        tty.setcbreak(self._descriptor, termios.TCSANOW)  # again and again: a shell sets its own during a Ctrl-Z
        if not select.select([self._descriptor], [], [], _LOOK_SECONDS)[0]:
            return None
        return os.read(self._descriptor, 1024).decode(errors="replace")


def _keys(typed: str) -> Iterator[str]:
    """One by one; a sequence that begins with Escape is one key."""
    for key in _KEY.findall(typed):
        if key in _NAMED or not key.startswith("\x1b"):
            yield _NAMED.get(key, key)


@contextmanager
def whole_screen(console: Console) -> Iterator[Keyboard]:
    """The terminal to itself, until the block or the process ends."""
    descriptor = sys.stdin.fileno()
    before: list[Any] = termios.tcgetattr(descriptor)
    say_last = interruption.say_last

    def put_back() -> None:
        with suppress(OSError, termios.error):  # the terminal is gone
            console.control(Control.clear(), Control.home())  # not every terminal has another screen
            if console.is_dumb_terminal:
                console.print()
            console.set_alt_screen(False)
            console.file.flush()
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    def put_back_and_say(words: str) -> None:
        put_back()
        say_last(words)

    interruption.say_last = put_back_and_say
    console.set_alt_screen(True)
    try:
        tty.setcbreak(descriptor, termios.TCSAFLUSH)  # what was typed before the first item was shown is no answer
        yield Keyboard(descriptor)
    finally:
        put_back()
        interruption.say_last = say_last
