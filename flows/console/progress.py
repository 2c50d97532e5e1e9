"""How far a run is, told to whoever looks: a bar for a person, plain lines for a log, an artifact for Prefect.

Stages call `stage(...)` and `advance(...)`, or `waiting(...)`, and know nothing of where it is shown. Only what is said
here may appear: standard output and error are not taken over, they belong to a log (`flows.console.terminal`).
"""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from flows.console.printable import printable

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 600.0


@dataclass
class Stage:
    """One stage under way.

    ``total`` is None while nobody knows it; ``before`` is about how much of it was done by an earlier process;
    ``waits_for`` says who does the work where it comes back in a few lumps, so that no pace can be told.
    """

    name: str
    unit: str
    total: int | None
    before: int = 0
    waits_for: str | None = None
    counted: int = 0  # done since the stage began, exactly
    started_at: float = field(default_factory=time.monotonic)
    on_change: Callable[[Stage], None] = lambda stage: None

    def advance(self, count: int) -> None:
        """Count ``count`` more units as done."""
        self.counted += count
        self.on_change(self)

    def becomes_known(self, total: int, before: int = 0) -> None:
        """From now on it is known how much there is to do, and about how much an earlier process had done."""
        self.total, self.before = total, before
        self.on_change(self)

    @property
    def done(self) -> int:
        """How much is done in all."""
        return self.before + self.counted if self.total is None else min(self.before + self.counted, self.total)

    @property
    def seconds(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self.started_at

    @property
    def rate(self) -> float:
        """Units per second since the stage began."""
        return self.counted / max(self.seconds, 1e-9)

    def amount(self) -> str:
        """Such as `1,200 of 2,000 items`."""
        return f"{self.done:,} {self.unit}" if self.total is None else f"{self.done:,} of {self.total:,} {self.unit}"

    def pace(self) -> str:
        """Such as `210/s, 4 s left`; how long it takes so far where there is no pace yet."""
        if self.waits_for and self.done != self.total:
            return f"{span(self.seconds)} so far, {self.waits_for}"
        if not self.counted or self.waits_for:
            return f"{span(self.seconds)} so far"
        if self.total is None:
            return per_time(self.rate)
        return f"{per_time(self.rate)}, {span((self.total - self.done) / self.rate)} left"

    def describe(self) -> str:
        """Such as `score: 1,200 of 2,000 items, 210/s, 4 s left`."""
        return f"{self.name}: {self.amount()}, {self.pace()}"

    def result(self) -> str:
        """What the stage came to, in one line."""
        text = f"{self.name:<9} {self.counted:>9,} {self.unit} in {self.seconds:.1f} s"
        if self.before and self.total is not None:
            text += f"; the other {self.total - self.counted:,} were done before"
        return text


def span(seconds: float) -> str:
    """A length of time as people say it: `45 s`, `12 min`, `3 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def per_time(rate: float) -> str:
    """A rate in a unit of time in which it is a number worth reading."""
    if rate >= 10:
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min" if rate >= 1 / 60 else f"{3600 * rate:.1f}/h"


def _wrapped(line: str, columns: int) -> str:
    """A line that is too long, broken between words and below its label; commands and paths stay as they are."""
    label = re.match(r"\w+ {2,}", line)
    indent = " " * label.end() if label else ""
    longest = max(map(len, line.split()), default=0)
    if len(line) <= columns or len(indent) + longest > columns or line.startswith((" ", "next ")):
        return line
    return "\n".join(
        textwrap.wrap(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    )


class ProgressReporter:
    """Shows stages on a console; ``on_advance`` is called with every change, for other places to show it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.on_advance: Callable[[Stage], None] = lambda stage: None
        self._bar: Progress | None = None
        self._bars = 0  # lines of it, one for each thing under way
        self._lock = Lock()

    @contextmanager
    def stage(
        self, name: str, unit: str, total: int | None = None, before: int = 0, waits_for: str | None = None
    ) -> Iterator[Stage]:
        """Announce a stage, maybe beside another. One in which there was nothing to do leaves no line."""
        stage = Stage(name, unit, total, before, waits_for)
        with self._shown(name, stage.amount, stage.pace, total) as show:

            def tell(stage: Stage) -> None:
                show(stage)
                self.on_advance(stage)

            stage.on_change = tell
            show(stage)
            yield stage
        if stage.counted:
            self.say(stage.result())
        self.on_advance(stage)

    @contextmanager
    def waiting(self, name: str, what: str) -> Iterator[None]:
        """Say what is waited for, and how long by now."""
        started_at = time.monotonic()
        with self._shown(name, lambda: what, lambda: f"{span(time.monotonic() - started_at)} so far", None):
            yield

    def say(self, text: str) -> None:
        """Print one line for the person."""
        text = printable(text)
        if self.console.is_terminal:
            text = "\n".join(_wrapped(line, self.console.width) for line in text.split("\n"))
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def give_up(self) -> None:
        """Take the bar away and show nothing more; from any thread."""
        bar, self._bar = self._bar, None
        if bar:
            bar.stop()
        self.console.quiet = True

    @contextmanager
    def _shown(
        self, name: str, amount: Callable[[], str], pace: Callable[[], str], total: int | None
    ) -> Iterator[Callable[[Stage], None]]:
        if not self.console.is_terminal:
            with _Lines(self.say, name, amount, pace):
                yield lambda stage: None
            return
        bar = self._take_bar()
        task = bar.add_task(name, total=total, amount=amount, pace=pace)
        try:
            yield lambda stage: bar.update(task, completed=stage.done, total=stage.total)
        finally:
            bar.remove_task(task)
            self._leave_bar()

    def _take_bar(self) -> Progress:
        with self._lock:
            if self._bar is None or not self._bars:
                columns = (SpinnerColumn(), TextColumn("{task.description:<9}"), BarColumn(20))
                # Whatever is printed meanwhile is Ray's or an engine's, and goes where Terminal has pointed it.
                self._bar = Progress(
                    *columns,
                    _Words("amount"),
                    _Words("pace"),
                    console=self.console,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._bar.start()
            self._bars += 1
            return self._bar

    def _leave_bar(self) -> None:
        with self._lock:
            self._bars -= 1
            if not self._bars and self._bar:
                self._bar.stop()
                self._bar = None


class _Words(ProgressColumn):
    """Text that changes by itself, with the time: what the task's field of that name says now."""

    max_refresh = 0.5

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def render(self, task: Task) -> Text:
        """The words as they are now."""
        return Text(task.fields[self._name](), no_wrap=True, overflow="ellipsis")


class _Lines:
    """Says how far it is when that has changed, or after long as a sign of life."""

    def __init__(
        self, say: Callable[[str], None], name: str, amount: Callable[[], str], pace: Callable[[], str]
    ) -> None:
        self._say, self._name, self._amount, self._pace = say, name, amount, pace
        self._is_over = Event()
        self._thread = Thread(target=self._tell, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _tell(self) -> None:
        told, told_at = "", 0.0
        while not self._is_over.wait(_SECONDS_BETWEEN_LINES):
            amount = self._amount()
            if amount != told or time.monotonic() - told_at > _SECONDS_BETWEEN_SIGNS_OF_LIFE:
                told, told_at = amount, time.monotonic()
                self._say(f"{self._name}: {amount}, {self._pace()}")
