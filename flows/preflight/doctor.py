"""`pipeline doctor`: whether a run could start here, one line a check, with what mends it.

Every check has a bounded time, and none needs a network: what cannot be asked is said. Nothing is started, and nothing
is left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flows.preflight import machine_checks
from flows.preflight.check import Check
from pipelines.errors import SluiceError

_LONGEST_SECONDS = 10.0


@dataclass(frozen=True)
class Diagnosis:
    """All checks, in the order in which they are told."""

    checks: tuple[Check, ...]

    @property
    def could_start(self) -> bool:
        """Whether a run could start on this machine as it is."""
        return all(check.state != "wrong" for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Values that ``--json`` prints."""
        return {"could_start": self.could_start, "checks": [asdict(check) for check in self.checks]}


def examine(job: Path | None, longest_seconds: float = _LONGEST_SECONDS) -> Diagnosis:
    """Look at this machine, and at a job if one is given."""
    named = [(name, run) for name, run in machine_checks.CHECKS.items()]
    found = list(_all(named, longest_seconds))
    if job is not None:
        from flows.preflight import job_checks  # imports what reads documents and models: more than a second

        loaded, told = job_checks.load(job)
        found += told
        if loaded is not None:
            of_job = [(name, partial(run, loaded)) for name, run in job_checks.CHECKS.items()]
            found += _all(of_job, longest_seconds)
    return Diagnosis(tuple(found))


def _all(named: Sequence[tuple[str, Callable[[], Check | Sequence[Check]]]], longest_seconds: float) -> Iterator[Check]:
    """Every check's outcome; side by side, for some wait for somebody's answer."""
    begun = [(name, _Running(name, run)) for name, run in named]
    until = time.monotonic() + longest_seconds
    for name, running in begun:
        running.thread.join(max(until - time.monotonic(), 0.0))
        if running.thread.is_alive():
            yield Check(name, "wrong", f"no answer within {longest_seconds:.0f} s", "look at the network and the disks")
        else:
            yield from running.found


class _Running:
    """One check in a thread of its own, which ends with the process if it hangs."""

    def __init__(self, name: str, run: Callable[[], Check | Sequence[Check]]) -> None:
        self._name, self._run = name, run
        self.found: Sequence[Check] = ()
        self.thread = threading.Thread(target=self._look, name=f"doctor-{name}", daemon=True)
        self.thread.start()

    def _look(self) -> None:
        try:
            found = self._run()
        except SluiceError as error:
            found = Check(self._name, "wrong", str(error))
        except Exception as error:  # a check that fails must not hide the others: it is told as what it is
            # By its kind alone: what an unexpected error says may hold anything.
            found = Check(self._name, "wrong", f"the check itself failed ({type(error).__name__})")
        self.found = [found] if isinstance(found, Check) else found
