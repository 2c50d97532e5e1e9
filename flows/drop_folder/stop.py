"""Ending a listener in an orderly way: what is in hand is finished, a wait is left at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any, Self, TypeVar

from flows.console.interruption import interruption

_Result = TypeVar("_Result")


class _StopWaiting(BaseException):
    """Raised by the signal handler within a wait; no library's `except Exception` may swallow it."""


class OrderlyStop:
    """While it is entered, SIGTERM, Ctrl-C and a closed terminal ask for a stop; the second one is obeyed at once."""

    def __init__(self) -> None:
        self.is_asked = False
        self._is_waiting = False
        self._handlers_before: dict[signal.Signals, Any] = {}
        self._before = ExitStack()

    def __enter__(self) -> Self:
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # `nohup`: it outlives its terminal
            numbers.append(signal.SIGHUP)
        self._handlers_before = {number: signal.signal(number, self._ask) for number in numbers}
        self._before.enter_context(interruption.suspended())
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def waiting(self, wait: Callable[[], _Result]) -> _Result | None:
        """What a call returns that may be left in the middle, because it only waits; None if a stop is asked for."""
        try:
            try:
                self._is_waiting = True
                return None if self.is_asked else wait()
            finally:
                self._is_waiting = False
        except _StopWaiting:
            return None

    def sleep(self, seconds: float) -> None:
        """Sleep, or less if a stop is asked for."""
        self.waiting(lambda: time.sleep(seconds))

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True
        self._restore()
        if self._is_waiting:
            raise _StopWaiting

    def _restore(self) -> None:
        self._before.close()
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
