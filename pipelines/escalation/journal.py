"""The journal of message batches: what was about to be sent, what was sent, what came back.

    escalations/chunk-00000/intent-00.json      before the POST
                            submitted-00.json   right after it, with the provider's id
                            abandoned-00.json   the POST is known to have had no effect; the next attempt may begin
                            collected.arrow     every answer, once, when all are there

Each is created once and never changed. Ids of items only: a document's text is never journalled.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from pipelines.store import layout
from pipelines.store.objects import Store


class Intent(BaseModel):
    """A message batch about to be sent."""

    model_config = ConfigDict(frozen=True)

    chunk: int
    attempt: int
    token: str
    created_at: datetime
    model: str
    item_ids: tuple[str, ...]


class Submitted(BaseModel):
    """The provider has it."""

    model_config = ConfigDict(frozen=True)

    batch_id: str
    submitted_at: datetime
    was_adopted: bool = False


class Abandoned(BaseModel):
    """This attempt had no effect."""

    model_config = ConfigDict(frozen=True)

    reason: str
    token: str


@dataclass(frozen=True)
class ChunkState:
    """Where a chunk stands: its latest attempt, and what is known of it."""

    intent: Intent | None
    submitted: Submitted | None
    is_collected: bool

    @property
    def is_in_doubt(self) -> bool:
        """An intent without an outcome: the process died, or is still sending."""
        return self.intent is not None and self.submitted is None


class Journal:
    """The journal of one run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def chunks(self) -> list[int]:
        """Numbers of the chunks that have an entry."""
        keys = self._store.list(layout.ESCALATIONS)
        return sorted({int(key.split("chunk-", 1)[1].split("/", 1)[0]) for key in keys if "chunk-" in key})

    def state(self, chunk: int) -> ChunkState:
        """What is known of a chunk. An abandoned attempt counts as none."""
        is_collected = self._store.exists(layout.chunk_object(chunk, "collected.arrow"))
        attempt = self._next_attempt(chunk)
        data = self._store.read_if_exists(_key(chunk, "intent", attempt))
        if data is None:
            return ChunkState(None, None, is_collected)
        sent = self._store.read_if_exists(_key(chunk, "submitted", attempt))
        submitted = Submitted.model_validate_json(sent) if sent else None
        return ChunkState(Intent.model_validate_json(data), submitted, is_collected)

    def intend(self, chunk: int, model: str, item_ids: tuple[str, ...], now: datetime) -> Intent | None:
        """Record the next attempt of a chunk; None if another process was first."""
        intent = Intent(
            chunk=chunk,
            attempt=self._next_attempt(chunk),
            token=uuid.uuid4().hex,
            created_at=now,
            model=model,
            item_ids=item_ids,
        )
        is_ours = self._store.create(_key(chunk, "intent", intent.attempt), intent.model_dump_json().encode())
        return intent if is_ours else None

    def submit(self, intent: Intent, submitted: Submitted) -> None:
        """Record that the provider has the batch."""
        self._store.create(_key(intent.chunk, "submitted", intent.attempt), submitted.model_dump_json().encode())

    def abandon(self, intent: Intent, reason: str) -> None:
        """Record that the attempt had no effect."""
        entry = Abandoned(reason=reason, token=intent.token)
        self._store.create(_key(intent.chunk, "abandoned", intent.attempt), entry.model_dump_json().encode())

    def batch_ids(self) -> set[str]:
        """Ids of every batch this run knows to be its own."""
        keys = [key for key in self._store.list(layout.ESCALATIONS) if "/submitted-" in key]
        return {Submitted.model_validate_json(self._store.read(key)).batch_id for key in keys}

    def _next_attempt(self, chunk: int) -> int:
        attempt = 0
        while self._store.exists(_key(chunk, "abandoned", attempt)):
            attempt += 1
        return attempt


def _key(chunk: int, name: str, attempt: int) -> str:
    return layout.chunk_object(chunk, f"{name}-{attempt:02d}.json")
