"""A look at a run that asks several questions: what a look at each of them says, put together.

Counts, batches and costs are sums; a shard is scored once it is for every question; the stage is that of the question
that is least far. A row is one document and one question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, get_args

from pipelines.costs.accounting import add_known
from pipelines.status.looking import RunLooker
from pipelines.status.record import RunStatus, Stage
from pipelines.store.objects import Store
from pipelines.store.runs import question_stores

_STAGES: tuple[Stage, ...] = get_args(Stage)


class Looker(Protocol):
    """Looks at one run, again and again; ``requests`` says what the last look asked of the store."""

    @property
    def store(self) -> Store:
        """That of the run."""

    @property
    def requests(self) -> int:
        """Of the last look."""

    @property
    def run_id(self) -> str:
        """The run's, once it was looked at."""

    def look(self, is_held: bool | None = None, now: datetime | None = None) -> RunStatus:
        """Where the run stands; see `RunLooker.look`."""


def looker_of(store: Store) -> Looker:
    """What looks at a run, whether it asks one question or several.

    Raises:
        StoreError: its record cannot be read.
    """
    questions = question_stores(store)
    return SeveralLooker(store, [RunLooker(question) for question in questions]) if questions else RunLooker(store)


class SeveralLooker:
    """Looks at a run through its questions; the run itself tells of its engines, and of its end."""

    def __init__(self, store: Store, questions: Sequence[RunLooker]) -> None:
        self._run, self._questions = RunLooker(store), questions

    @property
    def store(self) -> Store:
        """That of the run."""
        return self._run.store

    @property
    def requests(self) -> int:
        """What the last look asked of the store, for all questions."""
        return self._run.requests + sum(question.requests for question in self._questions)

    @property
    def run_id(self) -> str:
        """The run's, once it was looked at."""
        return self._run.run_id

    def look(self, is_held: bool | None = None, now: datetime | None = None) -> RunStatus:
        """See `RunLooker.look`."""
        whole = self._run.look(is_held, now)
        each = [question.look(is_held, now) for question in self._questions]
        return _together(whole, each)


def _together(whole: RunStatus, each: Sequence[RunStatus]) -> RunStatus:
    """All that the questions' own objects tell, added up; what the run's tell, as it is."""
    sums = {
        "scored_items": sum(status.scored_items for status in each),
        "batches_sent": sum(status.batches_sent for status in each),
        "batches_collected": sum(status.batches_collected for status in each),
    }
    if whole.is_complete:
        return whole.model_copy(update=sums)
    last = min(each, key=lambda status: _STAGES.index(status.stage))
    all_asked = last.stage == "complete"  # only the books of the whole are open
    paces = [status.items_per_second for status in each if status.items_per_second is not None]
    left = [status.seconds_left for status in each]
    at = [status.last_commit_at for status in (whole, *each) if status.last_commit_at]
    is_worked_on = True if any(status.is_worked_on for status in (whole, *each)) else whole.is_worked_on
    return whole.model_copy(
        update=sums
        | {
            "state": "publishing" if all_asked else last.state,
            "stage": "publish" if all_asked else last.stage,
            "is_worked_on": is_worked_on,
            "planned_items": sum(status.planned_items for status in each),
            "scored_shards": min(status.scored_shards for status in each),
            "items_per_second": sum(paces) if paces else None,
            "seconds_left": None if None in left else max(seconds for seconds in left if seconds is not None),
            "routes": dict(sum((Counter(status.routes) for status in each), Counter[str]())),
            "open_batches": tuple(batch for status in each for batch in status.open_batches),
            "engine_cost_usd": add_known(status.engine_cost_usd for status in each),
            "claude_cost_usd": add_known(status.claude_cost_usd for status in each),
            "cost_usd": add_known(status.cost_usd for status in each),
            "is_about": tuple(dict.fromkeys(name for status in each for name in status.is_about)),
            "last_commit_at": max(at) if at else None,
            "next_step": f"pipeline {'watch' if is_worked_on else 'resume'} {whole.run_id}"
            f"   {'follows it' if is_worked_on else 'does what is left'}",
        }
    )
