"""How far a run is, told to whoever looks: a bar for a person, plain lines for a log, an artifact for Prefect.

Stages call `stage(...)` and `advance(...)` and know nothing of where it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from flows.printable import printable

_SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Stage:
    """One stage under way. ``total`` is None while nobody knows it."""

    name: str
    unit: str
    total: int | None
    done: int = 0
    started_at: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Units per second since the stage began."""
        return self.done / max(time.monotonic() - self.started_at, 1e-9)

    def describe(self) -> str:
        """Such as `score: 1,200 of 2,000 items, 210/s, 4 s left`."""
        amount = f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"
        text = f"{self.name}: {amount} {self.unit}, {self.rate:,.0f}/s"
        if self.total is not None and self.done:
            text += f", {(self.total - self.done) / self.rate:,.0f} s left"
        return text


class ProgressReporter:
    """Shows stages on a console; ``on_advance`` is called with every change, for other places to show it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.on_advance: Callable[[Stage], None] = lambda stage: None
        self._advance: Callable[[Stage], None] = lambda stage: None
        self._stage: Stage | None = None

    @contextmanager
    def stage(self, name: str, unit: str, total: int | None = None, done: int = 0) -> Iterator[Stage]:
        """Announce a stage; one at a time."""
        self._stage = stage = Stage(name, unit, total, done)
        show = self._bar if self.console.is_terminal else self._lines
        with show(stage):
            yield stage
        self.on_advance(stage)

    def advance(self, count: int) -> None:
        """Count ``count`` more units done in the stage under way."""
        assert self._stage is not None
        self._stage.done += count
        self._advance(self._stage)
        self.on_advance(self._stage)

    def say(self, text: str) -> None:
        """One line for the person."""
        self.console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def _bar(self, stage: Stage) -> Iterator[None]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(stage.name, total=stage.total, completed=stage.done, speed="")

            def advance(now: Stage) -> None:
                progress.update(task, completed=now.done, speed=f"{now.rate:,.0f} {now.unit}/s")

            self._advance = advance
            yield
        self._done(stage)

    @contextmanager
    def _lines(self, stage: Stage) -> Iterator[None]:
        last_line_at = time.monotonic()

        def advance(now: Stage) -> None:
            nonlocal last_line_at
            if time.monotonic() - last_line_at >= _SECONDS_BETWEEN_LINES:
                last_line_at = time.monotonic()
                self.say(now.describe())

        self._advance = advance
        yield
        self._done(stage)

    def _done(self, stage: Stage) -> None:
        seconds = time.monotonic() - stage.started_at
        self.say(f"{stage.name:<9} {stage.done:>9,} {stage.unit} in {seconds:.1f} s")
