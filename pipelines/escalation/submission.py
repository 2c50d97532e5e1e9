"""Sending message batches so that a crash never pays twice.

Creating a batch is not idempotent and the API has no key to make it so. Hence: intent first, one POST without
retries, id right after; and an intent whose outcome is unknown is settled against the provider's own list before
anything is sent again. A listed batch is adopted only when the ids in its results
show that it is this one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.errors import ProviderError
from pipelines.escalation.journal import ChunkDraft, ChunkState, Intent, Journal, Submitted
from pipelines.escalation.provider import (
    BatchProvider,
    BatchStatus,
    OutcomeUnknownError,
    RefusedError,
    Request,
    TooLargeError,
    UnavailableError,
)
from pipelines.escalation.requests import custom_id_of

# Our clock against the provider's.
_CLOCK_DIFFERENCE = timedelta(minutes=5)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sender:
    """Sends the chunks of one run. ``wait`` sleeps for the given seconds; it may raise to stop."""

    run_id: str
    journal: Journal
    provider: BatchProvider
    now: Callable[[], datetime]
    wait: Callable[[float], None]
    poll_seconds: float

    def send(self, chunk: int, draft: ChunkDraft, requests: Sequence[Request]) -> bool:
        """Begin a chunk; False if another process has taken its number, so that the caller must look again.

        Raises:
            RefusedError, UnavailableError: the provider does not take it; the chunk stays begun, for `resume`.
        """
        intent = self.journal.intend(chunk, draft, body_sha256(requests), self.now())
        if intent is None:
            return False
        self._post(intent, requests)
        return True

    def resume(
        self, state: ChunkState, build_requests: Callable[[ChunkState], Sequence[Request]], *, may_send: bool = True
    ) -> None:
        """Have the provider hold a begun chunk, exactly once, whatever happened before.

        Without ``may_send`` nothing new is sent: only what may have been sent before is found out.

        Raises:
            TooLargeError: it is to be set aside, and its items sent in smaller chunks.
            ProviderError: the provider refuses, or cannot be asked.
        """
        while not (state.is_collected or state.submitted):
            if state.intent and state.intent.is_set_aside:
                raise TooLargeError(f"chunk {state.chunk} is set aside: the provider refused it as too large")
            if state.intent:
                self._settle(state.intent)
            elif not may_send:
                return
            else:
                requests = build_requests(state)
                intent = self.journal.intend(state.chunk, state.draft, body_sha256(requests), self.now())
                if intent:
                    self._post(intent, requests)
            state = self.journal.state(state.chunk)

    def _post(self, intent: Intent, requests: Sequence[Request]) -> None:
        try:
            batch_id = self.provider.create(requests, intent.token)
        except (RefusedError, UnavailableError) as error:  # both: it was not taken, for sure
            self.journal.abandon(intent, str(error))
            raise
        except OutcomeUnknownError as error:
            log.warning("chunk %d: nobody knows whether it was taken (%s); asking the provider", intent.chunk, error)
            return
        self.journal.submit(intent, Submitted(batch_id=batch_id, submitted_at=self.now()))
        if self.journal.is_abandoned(intent):
            # This process stood still between intent and POST for longer than the provider's list may lag, and another
            # has taken its silence for the end of it: the other's word counts, so this batch must not.
            self.provider.cancel(batch_id)
            raise ProviderError(
                f"message batch {batch_id} was sent too late: another process had given it up after "
                f"{self.provider.settle_seconds:,.0f} s. It is cancelled; what the provider bills of it belongs to no "
                "item of this run. Run the same command again"
            )

    def _settle(self, intent: Intent) -> None:
        """Find out whether a send reached the provider; adopt its batch, or declare it void."""
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
                # Every id carries the run and the chunk, so a single one shows whose batch it is. Asking for all of
                # them would make a row that the provider lost, or a read that was cut, cost the whole batch again;
                # whether all are there is checked when the answers are collected.
                if found & expected:
                    adopted = Submitted(batch_id=batch.batch_id, submitted_at=batch.created_at, was_adopted=True)
                    self.journal.submit(intent, adopted)
                    return
                if found:
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


def body_sha256(requests: Sequence[Request]) -> str:
    """Hash of what is sent, for the record."""
    digest = hashlib.sha256()
    for request in requests:
        digest.update(json.dumps(request, sort_keys=True).encode())
    return digest.hexdigest()
