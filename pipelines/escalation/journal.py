"""The journal of message batches: what was about to be sent, what was sent, what came back.

    escalations/chunk-00000/intent-00.json      before the POST
                            submitted-00.json   right after it, with the provider's id
                            abandoned-00.json   the POST is known to have had no effect; the next send may begin
                            collected.arrow     how every item ended, once, when the batch has ended
                            deleted.json        the provider's copy is gone, where the job asks for that

Each is created once and never changed. Ids of items only: a document's text is never journalled. Chunks are numbered
without gaps, and the intent of the next number is a conditional create: of two processes that work on one run, one
gets the number and the other looks again at what is left to send.

The end takes part in that order: whoever cancels the run, or has nothing more to send, takes the next number for a
`Closed`. From then on no number is left to send under, so nothing can be spent after the books are closed, by whatever
process, however long ago it looked.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow, to_arrow

CANCELLED = "cancelled"


class ChunkDraft(BaseModel):
    """The content of a message batch, before anything is sent."""

    model_config = ConfigDict(frozen=True)

    tier: int
    model: str
    item_ids: tuple[str, ...]
    shards: tuple[int, ...]
    # The most it can cost: held against the budget until the real usage is known. None: the price is unknown.
    reserved_cost_usd: Decimal | None


class Intent(BaseModel):
    """A message batch about to be sent."""

    model_config = ConfigDict(frozen=True)

    chunk: int
    send: int
    token: str
    created_at: datetime
    body_sha256: str
    draft: ChunkDraft
    # Stands where the next send would: nobody sends this chunk any more, its items go into smaller ones.
    is_set_aside: bool = False
    # The same, because the run was closed meanwhile: its items go into none.
    is_given_up: bool = False

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items, in the order of the requests."""
        return self.draft.item_ids


class Submitted(BaseModel):
    """Entry of the journal: the provider has the batch, under this id."""

    model_config = ConfigDict(frozen=True)

    batch_id: str
    submitted_at: datetime
    was_adopted: bool = False


class Abandoned(BaseModel):
    """Entry of the journal: this attempt to send had no effect at the provider."""

    model_config = ConfigDict(frozen=True)

    reason: str
    token: str


class Closed(BaseModel):
    """The end of the journal, under the number that the next chunk would have had."""

    model_config = ConfigDict(frozen=True)

    chunk: int
    token: str
    closed_at: datetime
    # Why not every doubtful item was answered; None: every one was, as far as anybody can.
    stop: str | None


@dataclass(frozen=True)
class ChunkState:
    """Where a chunk stands: its latest send, and what is known of it."""

    chunk: int
    draft: ChunkDraft
    intent: Intent | None
    submitted: Submitted | None
    is_collected: bool


class Journal:
    """The journal of one run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def chunks(self) -> int:
        """How many chunks have been begun."""
        keys = self._store.list(layout.ESCALATIONS)
        numbers = {int(key.split("chunk-", 1)[1].split("/", 1)[0]) for key in keys if "chunk-" in key}
        last = max(numbers, default=-1)
        return last if numbers and self.closed_at(last) else last + 1

    def closed_at(self, chunk: int) -> Closed | None:
        """How the journal ended after ``chunk`` chunks; None if another may be begun, or is."""
        data = self._store.read_if_exists(_key(chunk, "intent", 0))
        return Closed.model_validate_json(data) if data and "closed_at" in json.loads(data) else None

    def close(self, chunk: int, stop: str | None, now: datetime) -> Closed | None:
        """End the journal after ``chunk`` chunks; what ended it, if that was so before; None if there are more."""
        entry = Closed(chunk=chunk, token=uuid.uuid4().hex, closed_at=now, stop=stop)
        if self._store.create(_key(chunk, "intent", 0), entry.model_dump_json().encode()):
            return entry
        return self.closed_at(chunk)

    def state(self, chunk: int) -> ChunkState:
        """What is known of a chunk that has been begun. An abandoned send counts as none."""
        is_collected = self._store.exists(layout.chunk_object(chunk, "collected.arrow"))
        send = self._next_send(chunk)
        data = self._store.read_if_exists(_key(chunk, "intent", send))
        sent = self._store.read_if_exists(_key(chunk, "submitted", send)) if data else None
        intent = Intent.model_validate_json(data) if data else None
        first = intent or Intent.model_validate_json(self._store.read(_key(chunk, "intent", 0)))
        submitted = Submitted.model_validate_json(sent) if sent else None
        return ChunkState(chunk, first.draft, intent, submitted, is_collected)

    def intend(self, chunk: int, draft: ChunkDraft, body_sha256: str, now: datetime) -> Intent | None:
        """Record the next send of a chunk; None if another process was first."""
        intent = Intent(
            chunk=chunk,
            send=self._next_send(chunk),
            token=uuid.uuid4().hex,
            created_at=now,
            body_sha256=body_sha256,
            draft=draft,
        )
        return intent if self._begin(intent) else None

    def set_aside(self, state: ChunkState, now: datetime, *, is_given_up: bool = False) -> bool:
        """Record that a chunk will never be sent; False if another process has begun to send it."""
        if state.intent:
            return state.intent.is_set_aside
        return self._begin(
            Intent(
                chunk=state.chunk,
                send=self._next_send(state.chunk),
                token=uuid.uuid4().hex,
                created_at=now,
                body_sha256="",
                draft=state.draft,
                is_set_aside=True,
                is_given_up=is_given_up,
            )
        )

    def submit(self, intent: Intent, submitted: Submitted) -> None:
        """Record that the provider has the batch."""
        self._store.create(_key(intent.chunk, "submitted", intent.send), submitted.model_dump_json().encode())

    def abandon(self, intent: Intent, reason: str) -> None:
        """Record that the send had no effect."""
        entry = Abandoned(reason=reason, token=intent.token)
        self._store.create(_key(intent.chunk, "abandoned", intent.send), entry.model_dump_json().encode())

    def collect(self, chunk: int, answers: pa.Table) -> None:
        """Record how every item of a chunk ended; schema `COLLECTED`."""
        self._store.create(layout.chunk_object(chunk, "collected.arrow"), to_arrow(answers))

    def answers(self, chunk: int) -> pa.Table | None:
        """Answers of a chunk as `collect` recorded them; None before that."""
        data = self._store.read_if_exists(layout.chunk_object(chunk, "collected.arrow"))
        return None if data is None else from_arrow(data)

    def delete(self, chunk: int, now: datetime) -> None:
        """Record that the provider's copy of a chunk is gone."""
        entry = f'{{"deleted_at": "{now.isoformat()}"}}'
        self._store.create(layout.chunk_object(chunk, "deleted.json"), entry.encode())

    def is_deleted(self, chunk: int) -> bool:
        """Whether the provider's copy is known to be gone."""
        return self._store.exists(layout.chunk_object(chunk, "deleted.json"))

    def batch_ids(self) -> set[str]:
        """Ids of every batch this run knows to be its own."""
        keys = [key for key in self._store.list(layout.ESCALATIONS) if "/submitted-" in key]
        return {Submitted.model_validate_json(self._store.read(key)).batch_id for key in keys}

    def is_abandoned(self, intent: Intent) -> bool:
        """Whether somebody has recorded that a send had no effect."""
        return self._store.exists(_key(intent.chunk, "abandoned", intent.send))

    def cancel(self, now: datetime) -> Closed:
        """Record that the run is to send nothing more, and see to it; what ended it, if that was something else."""
        while (closed := self.close(self.chunks(), CANCELLED, now)) is None:
            pass  # a chunk was begun since the look
        return closed

    def _begin(self, intent: Intent) -> bool:
        return self._store.create(_key(intent.chunk, "intent", intent.send), intent.model_dump_json().encode())

    def _next_send(self, chunk: int) -> int:
        send = 0
        while self._store.exists(_key(chunk, "abandoned", send)):
            send += 1
        return send


def _key(chunk: int, name: str, send: int) -> str:
    return layout.chunk_object(chunk, f"{name}-{send:02d}.json")
