"""Taking in answers for runs that nobody waits for: one process, one timer, every open run.

Between rounds nothing is held: no engine, no connection. By hand (`pipeline collect`), from cron, or as a
Prefect deployment of the flow `collect`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect import flow
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.prefect_server import prefect_at_hand
from flows.process import process, reporter
from pipelines.errors import RunNotFoundError, SluiceError
from pipelines.settings import settings, withhold_claude_key
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import open_store, question_stores

log = logging.getLogger(__name__)


def collect_open_runs(progress: ProgressReporter, every_seconds: float | None) -> int:
    """One round over the open runs, or, with ``every_seconds``, one after another without end.

    Returns:
        In how many runs something went wrong; each is told.
    """
    withhold_claude_key()  # before Ray and Prefect start processes of theirs
    reporter.set(progress)
    while True:
        with prefect_at_hand(progress):
            failed = collect()
        if every_seconds is None:
            return failed
        time.sleep(every_seconds)


@flow(name="sluice-collect")
def collect() -> int:
    """Process every run of this machine that has sent something and is not complete; schedule it as you like.

    A run whose provider refuses does not keep the others waiting: it is reported, and looked at again next round.

    Returns:
        In how many runs something went wrong.
    """
    progress = reporter.get() or ProgressReporter(Console(file=sys.stderr))
    failed: set[str] = set()
    runs = open_runs(progress, failed)
    progress.say(f"open      {len(runs)} runs")
    for run in runs:
        with _only_this_one(run, progress, failed):
            is_complete = process(run, wait=False) is not None
            progress.say(f"{run}: {'complete' if is_complete else 'Claude is answering'}")
    return len(failed)


def open_runs(progress: ProgressReporter, failed: set[str]) -> list[str]:
    """Roots of the runs started on this machine that have sent a batch and are not complete.

    One whose store cannot be opened is told, added to ``failed``, and keeps nobody from the others.
    """
    folder = settings().state_dir / "runs"
    found = []
    for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []:
        with (
            _only_this_one(name, progress, failed),
            suppress(RunNotFoundError),
        ):  # its folder was removed: nothing is open there
            store = open_store(name)
            stores: list[Store] = [*question_stores(store)] or [store]
            if not store.exists(layout.COMPLETE) and any(any(each.list(layout.ESCALATIONS)) for each in stores):
                found.append(store.root)
    return found


@contextmanager
def _only_this_one(run: str, progress: ProgressReporter, failed: set[str]) -> Iterator[None]:
    """What goes wrong with one run is said, and stays with it."""
    try:
        yield
    except SluiceError as error:
        failed.add(run)
        log.warning("run %s: %s", run, error)
        progress.say(f"{run}: {error}")
    except Exception as error:  # the edge of each run's own process: whatever fails in one, the others are waiting
        failed.add(run)
        log.exception("run %s", run)
        progress.say(f"{run}: unexpected {type(error).__name__}; the log has the details")
