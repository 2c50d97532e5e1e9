"""A command in a real terminal: its keys, its signals, and what a person would see."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect
import psutil
import pyte

REPOSITORY = Path(__file__).resolve().parents[2]
COLUMNS, LINES = 100, 40
_HISTORY = 5_000


class TerminalSession:
    """As a context manager: at its end, the command is killed if it still runs."""

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: Path = REPOSITORY) -> None:
        self._child = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(folder),
            env={**environment, "TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(LINES)},
            dimensions=(LINES, COLUMNS),
            encoding="utf-8",
            codec_errors="replace",
        )
        self._child.delaybeforesend = None
        self._screen = pyte.HistoryScreen(COLUMNS, LINES, history=_HISTORY)
        self._stream = pyte.Stream(self._screen)
        self.transcript = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error:
            error.add_note("the terminal showed:\n" + self.screen)
        if self.is_alive():
            self._child.kill(signal.SIGKILL)
            self._child.wait()

    @property
    def pid(self) -> int:
        return int(self._child.pid)

    @property
    def lines(self) -> list[str]:
        """Every line that was shown and not taken away again, those that have scrolled off included."""
        scrolled = ["".join(line[column].data for column in range(COLUMNS)) for line in self._screen.history.top]
        return [line.rstrip() for line in [*scrolled, *self._screen.display]]

    @property
    def screen(self) -> str:
        return "\n".join(self.lines).rstrip()

    def wait_for(self, text: str, seconds: float = 300) -> None:
        """Return once the text is on the screen."""
        self.wait_until(lambda: text in self.screen, f"'{text}' on the screen", seconds)

    def wait_until(self, come: Callable[[], bool], what: str, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not come():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
            assert self._read() or self.is_alive(), f"{what}: the command has ended"

    def press(self, letter: str) -> None:
        """Ctrl and that letter: the terminal sends the signal to everything in the foreground."""
        self._child.sendcontrol(letter)

    def type(self, line: str) -> None:
        self._child.sendline(line)

    def send(self, keys: str) -> None:
        """Keys without Enter."""
        self._child.send(keys)

    def send_signal(self, number: signal.Signals) -> None:
        """To the command alone."""
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Close the terminal; nothing more is seen."""
        os.close(self._child.child_fd)
        self._child.closed = True

    def exit_code(self, seconds: float = 300) -> int:
        """Wait for the end; as a shell tells it."""
        deadline = time.monotonic() + seconds
        while self.is_alive():
            assert time.monotonic() < deadline, f"the command still runs after {seconds} s"
            self._read()
        while self._read():
            continue
        if self._child.exitstatus is None:
            return 128 + int(self._child.signalstatus)
        return int(self._child.exitstatus)

    def is_alive(self) -> bool:
        return bool(self._child.isalive())

    def _read(self) -> bool:
        """Take in what is written within a moment; False if nothing is."""
        if self._child.closed:
            time.sleep(0.05)
            return False
        try:
            written = self._child.read_nonblocking(65_536, timeout=0.1)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return False
        self.transcript += written
        self._stream.feed(written)
        return True


def processes_of(folder: Path) -> list[str]:
    """The processes that have the folder in their environment: what a command with its state there has started."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in value for value in process.environ().values()):
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except psutil.Error:  # it has just ended, or is another user's
            continue
    return found


def assert_nothing_left(folder: Path, seconds: float = 15) -> None:
    """Nothing of the folder's command runs any more, or will in a moment."""
    deadline = time.monotonic() + seconds
    while left := processes_of(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
