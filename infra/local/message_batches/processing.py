"""Moves batches to their end: a thread that sleeps until the clock says that the next one is due.

A batch is worked off in small transactions of some hundred rows. Results cannot be seen before the end, so all
rows are decided at the end: row *i* of *n* counts as done at ``created + processing * (i + 1) / n``, and a row
that was not done when the batch was canceled or expired comes back canceled or expired.
"""

import json
import logging
import os
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import Any

from infra.local.message_batches.batches import Batch
from infra.local.message_batches.faults import (
    FLAWS,
    find_batch_faults,
    find_row_fault,
    use_up,
)
from infra.local.message_batches.simulated_model.checks import RequestRefusedError
from infra.local.message_batches.simulated_model.reply import Simulator
from infra.local.message_batches.store import MICROSECONDS, Clock, Store, StoredPromptCache
from infra.local.message_batches.wire import to_json

CHUNK_ROWS = 200
_ERROR_DETAILS = {"error_visibility": "user_facing"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Row:
    """What is written to one request."""

    state: str
    result: dict[str, Any]
    usage: dict[str, Any] | None = None
    flaw: str | None = None


class Processor:
    """The worker thread. ``wake`` it whenever something may have become due."""

    def __init__(self, store: Store, clock: Clock, simulator: Simulator, cancel_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._simulator = simulator
        self._cancel_us = round(cancel_seconds * MICROSECONDS)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="processing", daemon=True)

    def start(self) -> None:
        """Go on from whatever the state holds."""
        self._thread.start()

    def stop(self) -> None:
        """End after the rows in hand."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Look again at what is due."""
        self._wake.set()

    def settle(self, timeout_seconds: float) -> bool:
        """Wait until nothing is due any more."""
        self.wake()
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            due_us = self._next_due()[1]
            if due_us is None or due_us > self._clock.now_us():
                return True
            time.sleep(0.005)
        return False

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
        finally:
            if not self._stopping.is_set():
                os.kill(os.getpid(), signal.SIGTERM)  # a service that never ends a batch would only hang its tests

    def _step(self) -> None:
        """Process the batch that is due, or sleep until one is."""
        self._wake.clear()
        batch, due_us = self._next_due()
        wait_us = None if due_us is None else due_us - self._clock.now_us()
        if batch is not None and wait_us is not None and wait_us <= 0:
            self._process(batch.id)
        else:
            self._wake.wait(None if wait_us is None else wait_us / MICROSECONDS)

    def _next_due(self) -> tuple[Batch | None, int | None]:
        with self._store.read() as db:
            rows = db.execute("SELECT * FROM batches WHERE ended_us IS NULL").fetchall()
        due = [(self._due_us(batch), batch.ordinal, batch) for batch in (Batch(**row) for row in rows)]
        if not due:
            return None, None
        due_us, _, batch = min(due)
        return batch, due_us

    def _due_us(self, batch: Batch) -> int:
        """When the batch ends: its work is done, it expires, or its cancellation has gone through."""
        moments = [batch.created_us + batch.processing_us, batch.expires_us]
        if batch.cancel_us is not None:
            moments.append(batch.cancel_us + self._cancel_us)
        return min(moments)

    def _process(self, batch_id: str) -> None:
        self._open(batch_id)
        while not self._stopping.is_set() and self._process_chunk(batch_id):
            continue

    def _open(self, batch_id: str) -> None:
        """Find out once which faults concern the whole batch, so that a restart does not use them up again."""
        with self._store.write() as db:
            batch = _stored(db, batch_id)
            if batch is None or batch.faults is not None:
                return
            faults = find_batch_faults(db, batch.ordinal)
            for fault in faults:
                use_up(db, fault)
            kinds = {fault.kind for fault in faults}
            cancel_us = self._clock.now_us() if "cancel_part" in kinds else batch.cancel_us
            db.execute(
                "UPDATE batches SET faults = ?, cancel_us = ? WHERE ordinal = ?",
                (to_json(sorted(kinds)), cancel_us, batch.ordinal),
            )
        self._stopping.wait(sum(fault.delay_ms for fault in faults) / 1000)

    def _process_chunk(self, batch_id: str) -> bool:
        """Decide some rows, or end the batch; False when there is nothing more to do.

        The batch is read again each time, as it may have been canceled, or a reset may have taken it away.
        """
        with self._store.write() as db:
            batch = _stored(db, batch_id)
            if batch is None:
                return False
            rows = db.execute(
                "SELECT * FROM requests WHERE batch = ? AND state IS NULL ORDER BY position LIMIT ?",
                (batch.ordinal, CHUNK_ROWS),
            ).fetchall()
            if not rows:
                self._end(db, batch)
                return False
            faults = frozenset(json.loads(batch.faults or "[]"))
            cache = StoredPromptCache(db, self._clock.now_us())
            for row in rows:
                self._write(db, row, self._decide(db, batch, row, faults, cache))
        return True

    def _end(self, db: sqlite3.Connection, batch: Batch) -> None:
        # The clock may have jumped far beyond the moment at which the batch was due.
        ended_us = min(self._clock.now_us(), max(self._due_us(batch), batch.created_us + 1000, batch.cancel_us or 0))
        db.execute("UPDATE batches SET ended_us = ? WHERE ordinal = ?", (ended_us, batch.ordinal))
        _log.info("batch %s ended", batch.id)

    def _decide(
        self, db: sqlite3.Connection, batch: Batch, row: sqlite3.Row, faults: frozenset[str], cache: StoredPromptCache
    ) -> _Row:
        stopped = _stopped_state(batch, row["position"], faults)
        if stopped is not None:
            return _Row(stopped, {"type": stopped})
        kind = "credit_balance" if "credit_balance" in faults else None
        fault = None if kind else find_row_fault(db, batch.ordinal, row["custom_id"])
        if fault is not None:
            use_up(db, fault)
            kind = fault.kind
        flaw = kind if kind in FLAWS else None
        try:
            message = self._simulator.reply(
                json.loads(row["params"]),
                version=batch.api_version,
                tier="batch",
                cache=cache,
                message_id=f"msg_{batch.ordinal:06d}{row['shuffle']:018d}",
                fault=None if flaw else kind,
            )
        except RequestRefusedError as refusal:
            return _Row("errored", _errored(refusal), flaw=flaw)
        return _Row("succeeded", {"type": "succeeded", "message": message}, message["usage"], flaw)

    @staticmethod
    def _write(db: sqlite3.Connection, row: sqlite3.Row, outcome: _Row) -> None:
        usage = to_json(outcome.usage) if outcome.usage else None
        db.execute(
            "UPDATE requests SET state = ?, result = ?, usage = ?, flaw = ? WHERE batch = ? AND position = ?",
            (outcome.state, to_json(outcome.result), usage, outcome.flaw, row["batch"], row["position"]),
        )


def _stored(db: sqlite3.Connection, batch_id: str) -> Batch | None:
    row = db.execute("SELECT * FROM batches WHERE id = ?", (batch_id,)).fetchone()
    return Batch(**row) if row else None


def _stopped_state(batch: Batch, position: int, faults: frozenset[str]) -> str | None:
    """``canceled`` or ``expired`` for a row that was not done in time; the part faults stop every second row."""
    if position % 2 and "cancel_part" in faults:
        return "canceled"
    if position % 2 and "expire_part" in faults:
        return "expired"
    done_us = batch.created_us + batch.processing_us * (position + 1) // batch.total
    if batch.cancel_us is not None and batch.cancel_us < min(done_us, batch.expires_us):
        return "canceled"
    return "expired" if done_us > batch.expires_us else None


def _errored(refusal: RequestRefusedError) -> dict[str, Any]:
    """The error is nested twice, as the real service has it."""
    error = {"type": refusal.type, "message": refusal.message, "details": _ERROR_DETAILS}
    return {"type": "errored", "error": {"type": "error", "error": error, "request_id": None}}
