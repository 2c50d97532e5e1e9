"""Sending message batches so that a crash never pays twice.

Creating a batch is not idempotent and the API has no key to make it so. Hence: intent first, one POST without
retries, id right after; and an intent whose outcome is unknown is settled against the provider's own list before
anything is sent again. A listed batch is adopted only if the ids in its results are exactly the ones intended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.errors import ProviderError
from pipelines.escalation.journal import Intent, Journal, Submitted
from pipelines.escalation.provider import BatchProvider, BatchStatus, OutcomeUnknownError, RefusedError, Request
from pipelines.escalation.requests import custom_id_of

# Our clock against the provider's.
_CLOCK_DIFFERENCE = timedelta(minutes=5)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chunk:
    """The items of one message batch, in order."""

    number: int
    item_ids: tuple[str, ...]


@dataclass(frozen=True)
class Sender:
    """Sends the chunks of one run. ``wait`` sleeps for the given seconds; it may raise to stop."""

    run_id: str
    model: str
    journal: Journal
    provider: BatchProvider
    now: Callable[[], datetime]
    wait: Callable[[float], None]
    poll_seconds: float

    def ensure_submitted(self, chunk: Chunk, build_requests: Callable[[], Sequence[Request]]) -> None:
        """Have the provider hold this chunk exactly once.

        Raises:
            ProviderError: the provider refuses; nothing was sent, the same command continues later.
        """
        while True:
            state = self.journal.state(chunk.number)
            if state.is_collected or state.submitted:
                return
            if state.intent:
                self._settle(state.intent)
            else:
                self._send(chunk, build_requests())

    def _send(self, chunk: Chunk, requests: Sequence[Request]) -> None:
        intent = self.journal.intend(chunk.number, self.model, chunk.item_ids, self.now())
        if intent is None:  # another process of the same run was first: its intent is settled like a crashed one's
            return
        try:
            batch_id = self.provider.create(requests)
        except RefusedError as error:
            self.journal.abandon(intent, str(error))
            raise
        except OutcomeUnknownError as error:
            log.warning("chunk %d: outcome of sending is unknown (%s); asking the provider", chunk.number, error)
            return
        self.journal.submit(intent, Submitted(batch_id=batch_id, submitted_at=self.now()))

    def _settle(self, intent: Intent) -> None:
        """Find out whether an attempt reached the provider; adopt its batch, or declare it void."""
        expected = {custom_id_of(self.run_id, intent.chunk, item_id) for item_id in intent.item_ids}
        strangers: set[str] = set()
        while not self._has_outcome(intent):
            # Read the clock before the list: a batch missing from a list read after the deadline does not exist.
            is_settled = self.now() >= intent.created_at + timedelta(seconds=self.provider.settle_seconds)
            candidates = [batch for batch in self._candidates(intent) if batch.batch_id not in strangers]
            for batch in candidates:
                if not batch.is_ended:
                    continue
                found = {row.custom_id for row in self.provider.results(batch.batch_id)}
                if found == expected:
                    adopted = Submitted(batch_id=batch.batch_id, submitted_at=batch.created_at, was_adopted=True)
                    self.journal.submit(intent, adopted)
                    return
                if not found <= expected:  # fewer rows, all ours: the connection was cut, which raises nothing
                    strangers.add(batch.batch_id)
            if is_settled and not candidates:
                self.journal.abandon(intent, "the provider does not list it")
                return
            self.wait(self.poll_seconds)

    def _has_outcome(self, intent: Intent) -> bool:
        """Another process may still be at work on it, and write its outcome while we look."""
        state = self.journal.state(intent.chunk)
        return state.intent != intent or state.submitted is not None

    def _candidates(self, intent: Intent) -> list[BatchStatus]:
        known = self.journal.batch_ids()
        listed = self.provider.list_since(intent.created_at - _CLOCK_DIFFERENCE)
        return [batch for batch in listed if batch.batch_id not in known and batch.requests == len(intent.item_ids)]


def check_same_items(intent: Intent, item_ids: Sequence[str]) -> None:
    """The journal is what was paid for: a plan that disagrees with it must not go on.

    Raises:
        ProviderError: the intent names other items than the plan gives now.
    """
    if intent.item_ids != tuple(item_ids):
        raise ProviderError(
            f"chunk {intent.chunk} was sent with other items than this run would send now; "
            "its folder was changed by hand. Start a new run with another --run-id"
        )
