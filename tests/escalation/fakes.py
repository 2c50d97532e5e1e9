"""A Message Batches provider in memory, a clock that only moves when someone waits, and a crash on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from pipelines.costs.price_book import TokenUsage
from pipelines.escalation.journal import ChunkDraft
from pipelines.escalation.provider import (
    BatchStatus,
    ItemResult,
    OutcomeUnknownError,
    RefusedError,
    Request,
    UnavailableError,
)

CreateOutcome = Literal[
    "taken", "refused", "busy", "taken, reply lost", "not taken, reply lost", "crash before", "crash after"
]


class Crash(BaseException):
    """The process is gone: nothing after this line runs."""


@dataclass
class Clock:
    """``wait`` moves time on and then calls whoever is due."""

    time: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)
    waits: int = 0
    alarms: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    def wait(self, seconds: float) -> None:
        assert self.waits < 10_000, "waits for ever"
        self.waits += 1
        self.time += timedelta(seconds=seconds)
        due = [alarm for alarm in self.alarms if alarm[0] <= self.time]
        self.alarms = [alarm for alarm in self.alarms if alarm[0] > self.time]
        for _, action in due:
            action()

    def at(self, seconds_from_now: float, action: Callable[[], None]) -> None:
        self.alarms.append((self.time + timedelta(seconds=seconds_from_now), action))


@dataclass
class Batch:
    status: BatchStatus
    custom_ids: list[str]
    listed_at: datetime
    ends_at: datetime


@dataclass
class FakeProvider:
    """What it does with the next create calls is in ``outcomes``; when they run out, it takes them."""

    clock: Clock
    outcomes: list[CreateOutcome] = field(default_factory=list)
    processing_seconds: float = 0.0
    list_lag_seconds: float = 0.0
    cut_reads: int = 0  # so many reads of results end one row early, without an error
    empty_reads: int = 0  # so many reads of results give no row at all, without an error
    settle_seconds: float = 720.0
    name: str = "fake"
    price_provider: str = "anthropic"
    minimum_requests: int = 1
    posts: int = 0
    batches: list[Batch] = field(default_factory=list)

    def check(self, request: Request) -> None:
        """Takes every request."""

    def create(self, requests: Sequence[Request], token: str) -> str:
        outcome = self.outcomes.pop(0) if self.outcomes else "taken"
        if outcome == "crash before":
            raise Crash
        self.posts += 1
        if outcome == "refused":
            raise RefusedError("the provider refused a message batch: 400 invalid_request_error")
        if outcome == "busy":
            raise UnavailableError("the provider refused a message batch: 429 rate_limit_error")
        if outcome == "not taken, reply lost":
            raise OutcomeUnknownError("APIConnectionError")
        batch_id = self.add([str(request["custom_id"]) for request in requests])
        if outcome == "crash after":
            raise Crash
        if outcome == "taken, reply lost":
            raise OutcomeUnknownError("APITimeoutError")
        return batch_id

    def add(self, custom_ids: list[str]) -> str:
        """A batch the provider holds, whoever sent it."""
        now = self.clock.now()
        batch_id = f"msgbatch_{len(self.batches)}"
        count = len(custom_ids)
        self.batches.append(
            Batch(
                BatchStatus(batch_id, now, False, count, 0),
                custom_ids,
                listed_at=now + timedelta(seconds=self.list_lag_seconds),
                ends_at=now + timedelta(seconds=self.processing_seconds),
            )
        )
        return batch_id

    def retrieve(self, batch_id: str) -> BatchStatus:
        (batch,) = [batch for batch in self.batches if batch.status.batch_id == batch_id]
        return self._status(batch)

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        now = self.clock.now()
        listed = [b for b in self.batches if b.listed_at <= now and b.status.created_at >= created_after]
        return [self._status(batch) for batch in reversed(listed)]

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        (batch,) = [batch for batch in self.batches if batch.status.batch_id == batch_id]
        assert self._status(batch).is_ended, "results of a batch that has not ended"
        custom_ids = batch.custom_ids[::-1]
        if self.empty_reads:
            self.empty_reads -= 1
            return
        if self.cut_reads:
            self.cut_reads -= 1
            custom_ids.pop()
        for custom_id in custom_ids:
            yield ItemResult(custom_id, "succeeded", '{"label": "billing"}', "end_turn", "claude-haiku-5-5", USAGE)

    def cancel(self, batch_id: str) -> None:
        raise NotImplementedError

    def delete(self, batch_id: str) -> None:
        raise NotImplementedError

    def _status(self, batch: Batch) -> BatchStatus:
        is_ended = self.clock.now() >= batch.ends_at
        count = len(batch.custom_ids)
        return BatchStatus(batch.status.batch_id, batch.status.created_at, is_ended, count, count if is_ended else 0)


def draft_of(item_ids: Sequence[str], tier: int = 0, reserved_usd: str | None = "0.01") -> ChunkDraft:
    """A draft of these items, all of shard 0."""
    reserved = None if reserved_usd is None else Decimal(reserved_usd)
    return ChunkDraft(
        tier=tier, model="claude-haiku-5-5", item_ids=tuple(item_ids), shards=(0,), reserved_cost_usd=reserved
    )


USAGE = TokenUsage(input=1_000, cache_write_5m=0, cache_write_1h=0, cache_read=0, output=10)
