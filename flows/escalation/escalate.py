"""The stages that talk to Claude: send doubtful items, take in the answers, publish their rows.

One loop, `escalate`: replay the journal, send what may be sent, ask what has ended, take it in, publish it; again
until nothing is left, or, without ``wait``, until nothing more can be done now.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.console.progress import ProgressReporter
from flows.escalation.requests import Asked, RequestBuilder
from flows.escalation.simulation import POLL_SECONDS as SIMULATION_POLL_SECONDS
from flows.run import Run
from flows.stages.planning import PlanSummary
from flows.stages.publishing import publish_chunk, publish_unsent
from pipelines.costs.price_book import price_book
from pipelines.errors import ProviderError
from pipelines.escalation.chunks import Chunk, Waiting, next_chunk
from pipelines.escalation.collection import BatchReader, given_up, set_aside
from pipelines.escalation.endings import ATTEMPTS_PER_TIER, Ending
from pipelines.escalation.journal import ChunkState, Closed, Journal
from pipelines.escalation.ledger import Ledger
from pipelines.escalation.provider import AccountError, BatchProvider, Request, TooLargeError
from pipelines.escalation.submission import Sender
from pipelines.routes import Stop
from pipelines.settings import settings
from pipelines.tasks.label_names import LabelNames

_CLOCK_DIFFERENCE = timedelta(minutes=5)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Escalated:
    """How far the escalation got: whether it is done, and what stopped it."""

    is_done: bool
    stop: Stop | None = None


class EscalationLoop:
    """The escalation of one run, in one process."""

    def __init__(self, run: Run, plan: PlanSummary, provider: BatchProvider, progress: ProgressReporter) -> None:
        assert run.job.escalation is not None
        self._run, self._plan, self._provider, self._progress = run, plan, provider, progress
        self._tiers = run.job.escalation.all_tiers
        is_simulation = run.job.escalation.provider == "simulation"
        self._model_suffix = " (simulation)" if is_simulation else ""
        self._poll_seconds = SIMULATION_POLL_SECONDS if is_simulation else settings().poll_seconds
        self._journal = Journal(run.store)
        self._ledger = Ledger(len(self._tiers))
        self._builder = RequestBuilder(run, plan, self._ledger, provider)
        self._sender = Sender(
            run_id=run.run_id,
            journal=self._journal,
            provider=provider,
            now=lambda: datetime.now(UTC),
            wait=time.sleep,
            poll_seconds=self._poll_seconds,
        )
        self._reader = BatchReader(
            run_id=run.run_id,
            provider=provider,
            readers=lambda draft: run.question.answer_readers(run.store, draft),
            prices=price_book(),
            passed_on=tuple(frozenset(map(LabelNames(run.job.labels).find, tier.pass_on)) for tier in self._tiers),
        )
        self._asked: Asked = lambda _shard: []
        self._advance: Callable[[int], None] = lambda _count: None
        self._may_send_more = True  # building chunks goes through the whole plan: only after something came in
        self._stop: Stop | None = None
        self._chunks = 0  # how many this process knows of: the journal may hold more by now
        self._open: dict[int, ChunkState] = {}
        self._checked: set[str] = set()
        self._cancelled: set[int] = set()
        self._closed: Closed | None = None  # the journal's end, once this process knows of it

    def worst_costs_usd(self, text_bytes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The most that asking the first tier once about each item can cost: shape [items]."""
        return self._builder.worst_costs_usd(text_bytes)

    @property
    def ledger(self) -> Ledger:
        """Where every item stands that was ever sent."""
        return self._ledger

    def run(self, *, wait: bool) -> Escalated:
        """Ask about every doubtful item, as far as it goes without waiting, and close the books.

        Raises: see `ask`.
        """
        self.replay()
        escalated = self.ask(self._run.decisions.doubtful_ids, wait=wait)
        if escalated.is_done:
            self.close(escalated.stop)
        return escalated

    def ask(self, asked: Asked, *, wait: bool) -> Escalated:
        """Bring the asking of some items to its end, or as far as it goes without waiting; to be replayed before.

        Args:
            asked: their ids, by shard.
            wait: for answers.

        Raises:
            AccountError: the account may not spend; everything open stays open, and the same command goes on.
            ProviderError: the provider refuses or cannot be reached.
        """
        self._asked = asked
        self._may_send_more = True
        items = unsettled = 0
        for ids in map(asked, range(self._plan.shards)):
            items += len(ids)
            unsettled += len(list(self._ledger.unsettled(ids)))
        with self._progress.stage("escalate", "items", items, items - unsettled, waits_for=_ANSWER_TAKES) as stage:
            self._advance = stage.advance
            while True:
                stop = self._send()
                if not self._open:  # only then is a stop final: what is taken in can free some of the budget
                    break
                self._poll()
                if self._open and not wait:
                    return Escalated(is_done=False)
                if self._open:
                    time.sleep(self._poll_seconds)
        return Escalated(is_done=True, stop=stop)

    def seal(self, stop: Stop | None) -> None:
        """See to it that nothing is sent from now on; nothing may be open.

        Raises:
            ProviderError: another process has sent something that this one knows nothing of.
        """
        closed = self._closed or self._journal.close(self._chunks, stop, datetime.now(UTC))
        if closed is None or (stop and closed.stop != stop):
            raise ProviderError(_ANOTHER_PROCESS)
        self._closed = closed

    def close(self, stop: Stop | None) -> None:
        """Seal the journal; then publish a row for every doubtful item that was not answered.

        Raises: see `seal`.
        """
        self.seal(stop)
        if stop:
            publish_unsent(self._run, self._plan, self._ledger, _UNSENT_REASONS[stop], self._model_suffix)

    def replay(self) -> None:
        """Bring the ledger to what the journal says; publish what was collected before a crash and not published."""
        self._chunks = self._journal.chunks()
        for chunk in range(self._chunks):
            state = self._journal.state(chunk)
            self._ledger.begin(state)
            answers = self._journal.answers(chunk)
            if answers is None:
                self._open[chunk] = state
            else:
                self._publish(state, answers, self._ledger.settle(chunk, answers))
                self._delete(state)

    def _send(self) -> Stop | None:
        """Have the provider hold every begun chunk, and begin new ones; why some items cannot be sent, if so."""
        self._look_for_end()
        for chunk, state in list(self._open.items()):
            if not state.submitted:
                try:
                    self._sender.resume(state, self._builder.rebuild, may_send=self._closed is None)
                except TooLargeError:
                    self._set_aside(state)
                    continue
                self._open[chunk] = self._journal.state(chunk)
                if self._closed and not self._open[chunk].submitted:
                    self._set_aside(self._open[chunk], is_given_up=True)
        while self._may_send_more and not self._closed:
            self._may_send_more = False
            self._stop = self._send_new()
        if self._closed:
            self._stop = Stop(self._closed.stop) if self._closed.stop else None
        if self._stop is Stop.CANCELLED:
            self._cancel_open()
        return self._stop

    def _look_for_end(self) -> None:
        """Take note of it if another process, or an earlier one, has closed the journal after what is known here."""
        self._closed = self._closed or self._journal.closed_at(self._chunks)

    def _send_new(self) -> Stop | None:
        """Begin chunks for what is left, tier by tier, as far as it can be sent; why not all of it, if so."""
        stop = None
        for tier in self._builder.tiers:
            waiting = Waiting(self._builder.candidates(tier, self._asked))
            while chunk := next_chunk(waiting, self._builder.limits(tier)):
                if isinstance(chunk, Stop):
                    stop = chunk
                    break
                if not self._begin(chunk):
                    return None
            if stop is Stop.BUDGET:
                break
        return stop

    def _begin(self, new: Chunk) -> bool:
        """Journal a chunk, have the provider hold it, and take note of it; False if the run was closed meanwhile."""
        self._look_for_end()
        if self._closed:
            return False
        # Numbered by what this process knows: a number that is taken means that its ledger is behind the journal, or
        # that the run was closed since the look.
        number = self._chunks
        requests = self._builder.requests(number, new.draft, new.texts)
        self._check_first(new.draft.model, requests[0])
        try:
            is_too_large = False
            if not self._sender.send(number, new.draft, requests):
                self._look_for_end()
                if self._closed:
                    return False
                raise ProviderError(_ANOTHER_PROCESS)
        except TooLargeError:
            is_too_large = True
        self._chunks += 1
        self._open[number] = self._journal.state(number)
        self._ledger.begin(self._open[number])
        if is_too_large:
            self._set_aside(self._open[number])
        return True

    def _set_aside(self, state: ChunkState, *, is_given_up: bool = False) -> None:
        """Give up a chunk that is too large for the provider; its items are sent again in chunks of half the size.

        With ``is_given_up``, one that was begun and not sent before the run was closed; nobody may send it any more.
        """
        now = datetime.now(UTC)
        if not self._journal.set_aside(self._journal.state(state.chunk), now, is_given_up=is_given_up):
            if is_given_up:  # it is being sent after all, and stays open: what comes of it is found out next round
                return
            raise ProviderError(_ANOTHER_PROCESS)
        intent = self._journal.state(state.chunk).intent
        if intent and intent.is_given_up:
            log.info("chunk %d of %d items is not sent: the run is closed", state.chunk, len(state.draft.item_ids))
            answers = given_up(state.draft, now)
        else:
            log.warning("chunk %d of %d items is too large for the provider", state.chunk, len(state.draft.item_ids))
            answers = set_aside(state.draft, now)
        self._journal.collect(state.chunk, answers)
        self._take_in(state)

    def _cancel_open(self) -> None:
        """Ask the provider to end what is under way; its answers so far are taken in like any others."""
        for chunk, state in self._open.items():
            if state.submitted and chunk not in self._cancelled:
                self._provider.cancel(state.submitted.batch_id)
                self._cancelled.add(chunk)

    def _check_first(self, model: str, request: Request) -> None:
        """Ask, once per model and without spending, whether its requests would be taken at all."""
        if model not in self._checked:
            self._provider.check(request)
            self._checked.add(model)

    def _poll(self) -> None:
        """Take in every batch that has ended; one list call for all of them."""
        if not self._open:
            return
        submitted = {state.submitted.batch_id: chunk for chunk, state in self._open.items() if state.submitted}
        since = min(state.intent.created_at for state in self._open.values() if state.intent) - _CLOCK_DIFFERENCE
        listed = {status.batch_id: status for status in self._provider.list_since(since)}
        for batch_id, chunk in submitted.items():
            status = listed.get(batch_id) or self._provider.retrieve(batch_id)
            if status.is_ended:
                self._collect(self._open[chunk])

    def _collect(self, state: ChunkState) -> None:
        assert state.intent and state.submitted
        collected = self._reader.collect(state.intent, state.submitted, datetime.now(UTC))
        for count, what in (
            (collected.missing_rows, "rows are missing; their items are asked again"),
            (collected.repeated_rows, "rows are there twice; the first of each counts"),
            (collected.unknown_rows, "rows belong to nothing that was sent; they are left out"),
        ):
            if count:
                log.warning("message batch %s: %d %s", state.submitted.batch_id, count, what)
        self._tell(state.submitted.batch_id, collected.answers)
        self._journal.collect(state.chunk, collected.answers)
        self._take_in(state)
        self._delete(state)
        if collected.fault:
            raise AccountError(
                f"Claude did not answer {len(state.draft.item_ids):,} items: {collected.fault}. Nothing was billed for "
                "them and nothing is lost; mend the cause and run the same command again"
            )

    def _take_in(self, state: ChunkState) -> None:
        """Bring the ledger to what was collected, and publish it."""
        del self._open[state.chunk]
        # Read back: another process may have been first, and its record is the one that counts.
        answers = self._journal.answers(state.chunk)
        assert answers is not None
        settled = self._ledger.settle(state.chunk, answers)
        self._may_send_more = True
        self._publish(state, answers, settled)
        self._advance(len(settled))

    def _tell(self, batch_id: str, answers: pa.Table) -> None:
        """Say what came back without an answer, and what happens to it."""
        endings = zip(answers["ending"].to_pylist(), answers["reason"].to_pylist(), strict=True)
        for (ending, reason), count in Counter(endings).most_common():
            if ending in _WHAT_NEXT:
                what_next = "they are held for review" if self._closed else _WHAT_NEXT[ending]
                self._progress.say(f"{count:,} items of {batch_id}: {reason}; {what_next}")

    def _delete(self, state: ChunkState) -> None:
        """Have the provider forget a batch that is taken in, where the job asks for it; also after a crash."""
        wants = self._run.job.escalation and self._run.job.escalation.delete_after_collecting
        if wants and state.submitted and not self._journal.is_deleted(state.chunk):
            self._provider.delete(state.submitted.batch_id)
            self._journal.delete(state.chunk, datetime.now(UTC))

    def _publish(self, state: ChunkState, answers: pa.Table, settled: list[str]) -> None:
        room_bytes = self._builder.room_bytes(state.draft.tier)
        publish_chunk(self._run, state, answers, settled, self._ledger, self._model_suffix, room_bytes)


_WHAT_NEXT = {
    Ending.AGAIN: f"they are asked again, {ATTEMPTS_PER_TIER} times in all",
    Ending.NEXT_TIER: "the next tier is asked; without one they are held for review",
}
_ANSWER_TAKES = "most take under an hour"
_ANOTHER_PROCESS = "another process sends the doubtful items of this run; wait for it, or stop it"
_UNSENT_REASONS = {
    Stop.BUDGET: "budget: budget_usd does not reach for it",
    Stop.CANCELLED: "the run was cancelled before it was answered",
    Stop.TOO_FEW: "too few doubtful items are left for one of the provider's batches",
}
