"""`pipeline watch`: a run is looked at again and again until it is complete; nothing of it is touched.

What a look asks of the store decides how soon the next one comes: S3 is asked about one thing a second on average at
most, and a folder is read for a twentieth of the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Group
from rich.live import Live
from rich.text import Text

from flows.console.interruption import interruption
from flows.console.progress import ProgressReporter
from flows.console.views.status import status_line, status_lines
from flows.run_lock import is_held
from pipelines.errors import StoreError
from pipelines.status.record import RunStatus
from pipelines.status.several import Looker, looker_of
from pipelines.store.runs import open_store

_SECONDS_BETWEEN_LOOKS, _SECONDS_BETWEEN_LOOKS_AT_S3 = 1.0, 10.0
_SECONDS_A_REQUEST = 1.0
_LOOKING_SHARE = 0.05
_SECONDS_BETWEEN_LINES = 10.0
_UNTOUCHED = "no longer watching; the run is untouched: `pipeline watch` looks at it again"


def watch_run(run: str, progress: ProgressReporter, *, is_once: bool) -> None:
    """Show how far the run is until it is complete: in place at a terminal, line by line elsewhere.

    Raises:
        RunNotFoundError: there is no such run.
        StoreError: the first look at it fails; what fails later is told, and tried again.
    """
    looker = looker_of(open_store(run))
    status = looker.look(is_held(looker.store.run_root))
    if is_once or status.is_complete:
        _say_all(progress, status)
        return
    interruption.words = _UNTOUCHED
    if progress.console.is_terminal:
        _in_place(looker, status, progress)
    else:
        _line_by_line(looker, status, progress)


def _in_place(looker: Looker, status: RunStatus, progress: ProgressReporter) -> None:
    live = Live(console=progress.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    say_last = interruption.say_last

    def leave(words: str) -> None:
        live.stop()  # the cursor is shown again
        say_last(words)

    interruption.say_last = leave
    with live:
        live.update(_shown(status, None), refresh=True)
        for seen, problem in _looks(looker):
            status = seen or status
            live.update(_shown(status, problem), refresh=True)


def _shown(status: RunStatus, problem: str | None) -> Group:
    lines = status_lines(status)
    if status.is_worked_on and not status.is_complete:
        lines = lines[:-1]  # there is nothing to do but to wait
    lines += [f"problem   {problem}"] if problem else []
    return Group(*map(Text, lines))


def _line_by_line(looker: Looker, status: RunStatus, progress: ProgressReporter) -> None:
    told, told_at = status_line(status), time.monotonic()
    progress.say(told)
    for seen, problem in _looks(looker):
        if seen and seen.is_complete:
            _say_all(progress, seen)
        elif time.monotonic() - told_at >= _SECONDS_BETWEEN_LINES:
            line = f"problem: {problem}" if seen is None else status_line(seen)
            if line != told:
                told, told_at = line, time.monotonic()
                progress.say(line)


def _looks(looker: Looker) -> Iterator[tuple[RunStatus | None, str | None]]:
    """Look after look, up to that which finds the run complete; in place of one that fails, the reason."""
    took = 0.0
    while True:
        time.sleep(pause(looker.requests, took, is_on_s3=looker.store.root.startswith("s3://")))
        begun = time.monotonic()
        try:
            status = looker.look(is_held(looker.store.run_root))
        except StoreError as error:
            yield None, f"{error}; trying again"
        else:
            yield status, None
            if status.is_complete:
                return
        took = time.monotonic() - begun


def pause(requests: int, took_seconds: float, *, is_on_s3: bool) -> float:
    """How long to wait after a look that asked so many things of the store, and took so long."""
    if is_on_s3:
        return max(_SECONDS_BETWEEN_LOOKS_AT_S3, requests * _SECONDS_A_REQUEST)
    return max(_SECONDS_BETWEEN_LOOKS, took_seconds / _LOOKING_SHARE)


def _say_all(progress: ProgressReporter, status: RunStatus) -> None:
    for line in status_lines(status):
        progress.say(line)
