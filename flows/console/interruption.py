"""Ctrl-C, SIGTERM and a closed terminal: the command ends at once, says so in one line, and leaves nothing running.

Every commit is a conditional create and every message batch is journalled before it is sent, so that a run may end
anywhere. An orderly end would be worse: Ray and Prefect catch signals themselves and take minutes over a half-run flow.

Signals are heard by a thread of its own, through the file descriptor that Python writes to in its signal handler: the
main thread may be deep in somebody's library, and whatever handlers are set in Python do not unset this. Ray sets its
own below Python: it aborts the process three seconds after a SIGTERM, and once it is shut down SIGTERM kills without a
word. So the thread looks again and again whether Python's is in place.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORDS = "interrupted; what is committed is kept: the same command does the rest"
# For the ^C that a terminal shows, and what may be left of a bar.
CLEAR_LINE = "\r\x1b[2K"

# A terminal that is held up (Ctrl-S) takes no last words.
_LONGEST_SECONDS = 1.5
_LOOK_SECONDS = 0.2

_get_handler, _set_handler = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
_get_handler.argtypes, _get_handler.restype = [ctypes.c_int], ctypes.c_void_p
_set_handler.argtypes, _set_handler.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p


class Interruption:
    """How this process ends on a signal."""

    def __init__(self) -> None:
        self.is_ending = False
        self.words = WORDS  # what is said last
        self.say_last: Callable[[str], None] = _say_on_standard_error
        self._wakeup = -1

    def install(self) -> None:
        """From now on, signals end the process; only from the main thread, once. What is ignored stays ignored."""
        hears, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        obeyed = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # it is by `nohup`
        for number in obeyed:
            signal.signal(number, _leave_it_to_the_thread)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        handlers = {number: _get_handler(number) for number in obeyed}
        threading.Thread(target=self._hear, args=(hears, handlers), name="signals", daemon=True).start()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """While the block runs, signals go to whoever has set a handler for them."""
        before = signal.set_wakeup_fd(-1)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within a block in which it is suspended, it is not."""
        if self._wakeup < 0:  # a process that is not the command
            yield
            return
        before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)

    def _hear(self, hears: int, handlers: Mapping[int, int]) -> None:
        while True:
            if select.select([hears], [], [], _LOOK_SECONDS)[0]:
                number = os.read(hears, 1)[0]
                if number in handlers:  # not another that somebody handles, such as SIGCHLD
                    self._end(number)
            for number, handler in handlers.items():
                if _get_handler(number) != handler:
                    _set_handler(number, handler)

    def _end(self, number: int) -> None:
        """End the process, as a shell would report that signal."""
        self.is_ending = True
        threading.Thread(target=_exit_after, args=(_LONGEST_SECONDS, 128 + number), daemon=True).start()
        _kill_descendants()
        with suppress(OSError):  # the terminal is gone
            self.say_last(self.words)
        os._exit(128 + number)


def _leave_it_to_the_thread(*_: object) -> None:
    """A handler of Python's own must be set for the descriptor to be written to."""


def _say_on_standard_error(words: str) -> None:
    os.write(2, f"{CLEAR_LINE if os.isatty(2) else ''}{words}\n".encode())


def _exit_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    os._exit(code)


def _kill_descendants() -> None:
    """Kill what this process has started, and what that has. Without /proc, they find out that it has ended."""
    children = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            # The name, in parentheses, may hold anything: state and parent come after the last one.
            parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            children[int(parent)].append(int(entry.name))
    found = [os.getpid()]
    for process in found:
        found += children[process]
    for process in found[1:]:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


# A process has one disposition for each signal.
interruption = Interruption()
