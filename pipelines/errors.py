"""Every error this project raises, in one tree.

    SluiceError                  caught at the edge of the command; its text is for the user
    ├── JobError                 the job or the command is wrong: nothing has run; exit code 2
    │   └── NoInputError         no file is there to read
    ├── RunNotFoundError         no run of that name: exit code 2
    ├── CoverageError            not everything was reviewed: what would pass for the whole is not published
    ├── ServiceError             something outside is failing; what is committed stays, resume goes on
    │   ├── StoreError           the results store refuses or cannot be reached
    │   ├── EngineError          the scoring engine does not start or keeps dying
    │   └── ProviderError        the Message Batches provider refuses or cannot be reached
    └── InvariantError           we are wrong: counts or sums do not add up

A bad *document* is none of these: it becomes a row with route ``failed`` and a reason.
"""

from __future__ import annotations

from collections.abc import Sequence


class SluiceError(Exception):
    """Root of the tree; the message names the item, the limit and the next move."""


class JobError(SluiceError):
    """The job file or the command line is wrong. Holds every problem found, not only the first."""

    def __init__(self, problems: Sequence[str], source: str = "the job") -> None:
        self.problems = list(problems)
        count = len(self.problems)
        heading = f"{count} problem{'s' if count != 1 else ''} in {source}"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class NoInputError(JobError):
    """No file is there to read: wrong for a run, nothing new for a series of them."""


class RunNotFoundError(SluiceError):
    """No run under the given id or URI."""


class CoverageError(SluiceError):
    """Some items of a code review have no review, and SARIF would say that their faults are mended."""


class ServiceError(SluiceError):
    """A service we depend on fails. Committed work is kept; the same command continues it."""


class StoreError(ServiceError):
    """The results store refuses a read or write, or cannot be reached."""


class EngineError(ServiceError):
    """The scoring engine cannot start, or dies again and again on the same shard."""


class ProviderError(ServiceError):
    """The Message Batches provider refuses the account or cannot be reached."""


class InvariantError(SluiceError):
    """Something that must always hold does not: a defect of ours, never of the input."""
