"""Commands that only read, run in the process of the test: what they write is what a person or a program gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows.cli import app
from flows.console import terminal

Pipeline = Callable[..., str]


@pytest.fixture
def pipeline(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Runs a command, and returns what it wrote: to standard output, or to standard error where it fails."""
    opened = []

    class ClosedInTheEnd(terminal.Terminal):
        """A command leaves its copies of the standard streams to the end of the process."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            opened.extend([self._out, self._err, self.console.file])

    monkeypatch.setattr(terminal, "Terminal", ClosedInTheEnd)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, exit_code: int = 0) -> str:
        ended = 0
        try:
            app(list(arguments))
        except SystemExit as error:
            ended = error.code if isinstance(error.code, int) else 1
        captured = capfd.readouterr()
        assert ended == (exit_code or 0), captured.err
        return captured.err if exit_code else captured.out

    yield run
    for stream in opened:
        stream.close()
