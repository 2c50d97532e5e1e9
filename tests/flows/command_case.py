"""The command in this process, as a person would type it: its exit code, what it shows, and what it complains of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.console.terminal import Terminal


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs it; the process, which is to end after a command, goes on here, so its copies of the console are closed."""
    opened: list[Terminal] = []
    begin = Terminal.__init__

    def noted(self: Terminal, **options: Any) -> None:
        begin(self, **options)
        opened.append(self)

    monkeypatch.setattr(Terminal, "__init__", noted)

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        done = CliRunner().invoke(app, list(arguments))
        while opened:
            terminal = opened.pop()
            for file in (terminal.console.file, terminal._out, terminal._err):
                file.close()
        shown = capfd.readouterr()
        return Ran(done.exit_code, shown.out + done.stdout, shown.err + done.stderr)

    yield run
