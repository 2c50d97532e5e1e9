"""The demo's processes: services that run until the end, and commands that are waited for.

In: command lines as a user types them. Out: nothing that is left running, however the demo ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

# -P: the folder it runs in must not be searched for modules.
_SERVICE = [sys.executable, "-P", "-m", "infra.local.demo_s3.service"]
_STOP_SECONDS = 15
_POLL_SECONDS = 0.25
_SILENT_SECONDS = 15
_SHOWN_OF_LOG = 3_000

_Found = TypeVar("_Found")


class DemoError(Exception):
    """The demo does not show what it should; the message says where to look."""


class Interrupted(BaseException):
    """A signal asks for the end; no library's `except Exception` may swallow it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class Processes:
    """As a context manager: at its end every service is stopped, the last one first; at once if interrupted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._services: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Another Ctrl-C would leave processes behind; stopping takes seconds.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if kind is Interrupted:  # nothing of theirs is kept, and an orderly end may wait for one another
            for process in self._services.values():
                _kill_group(process.pid)
        for name in reversed(list(self._services)):
            self.stop(name)

    def start(self, name: str, command: list[str]) -> None:
        """Start a service. Its output goes to a log; it ends with this process, even if that is killed with -9."""
        with self._log(name).open("wb") as log:
            self._services[name] = subprocess.Popen(  # noqa: S603  # our own words
                [*_SERVICE, str(os.getpid()), *command],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which stops the services in their order
            )

    def stop(self, name: str) -> None:
        """End a service in an orderly way, and kill what is left of it: a worker's runs are in its process group."""
        process = self._services.pop(name)
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        _kill_group(process.pid)
        process.wait()

    def run(self, command: list[str]) -> None:
        """Run a command to its end.

        Raises:
            DemoError: it failed.
        """
        program, *arguments = command
        path = Path(sys.executable).with_name(program)
        done = subprocess.run(  # noqa: S603  # our own words
            [path, *arguments], cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DemoError(
                f"`{' '.join(command)}` failed with exit code {done.returncode}:\n{done.stdout}{done.stderr}"
            )

    def wait_for(
        self, what: str, look: Callable[[], _Found | None], seconds: float, *, is_shown: bool = False
    ) -> _Found:
        """Look again and again until there is something to see; what takes long is told.

        Args:
            what: is waited for.
            look: None if there is nothing yet.
            seconds: how long at most.
            is_shown: ``look`` shows by itself what is going on.

        Raises:
            DemoError: a service has ended, or nothing came in time.
        """
        started_at = time.monotonic()
        deadline, is_told = started_at + seconds, is_shown
        while (found := look()) is None:
            for name, process in self._services.items():
                if process.poll() is not None:
                    raise DemoError(f"{name} ended with exit code {process.returncode}:\n{self.said(name)}")
            if time.monotonic() > deadline:
                raise DemoError(f"{what} did not come in {seconds:.0f} seconds")
            if not is_told and time.monotonic() - started_at > _SILENT_SECONDS:
                print(f"  waiting for {what}, {seconds:.0f} s at most", flush=True)
                is_told = True
            time.sleep(_POLL_SECONDS)
        return found

    def said(self, name: str) -> str:
        """The end of what a service has printed."""
        return self._log(name).read_text(encoding="utf-8", errors="replace")[-_SHOWN_OF_LOG:]

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing was left
