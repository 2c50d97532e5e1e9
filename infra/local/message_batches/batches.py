"""Message batches in the state file: create, find, list, cancel, delete, show, and their result lines.

A batch is moved on by ``processing``; here it is only looked at and marked.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.local.message_batches.store import MICROSECONDS, Store
from infra.local.message_batches.wire import ApiError, bad_request, to_json

EXPIRES_AFTER_US = 24 * 3600 * MICROSECONDS
ARCHIVED_AFTER_US = 29 * 24 * 3600 * MICROSECONDS
EVERY_WORKSPACE = "*"
CONFORMANCE_ID = "message_batch_id"
_STATES = ("succeeded", "errored", "canceled", "expired")
_PAGE_ROWS = 500
_ID_CHARACTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class Batch:
    """One row of the batches table."""

    ordinal: int
    id: str
    workspace: str
    api_version: str
    created_us: int
    processing_us: int
    total: int
    cancel_us: int | None
    ended_us: int | None
    faults: str | None
    deleted: int

    @property
    def expires_us(self) -> int:
        """Time at which unfinished requests expire, in microseconds."""
        return self.created_us + EXPIRES_AFTER_US

    @property
    def archived_us(self) -> int:
        """Time at which the results go away, in microseconds."""
        return self.created_us + ARCHIVED_AFTER_US

    @property
    def status(self) -> str:
        """``processing_status`` as the API spells it."""
        if self.ended_us is not None:
            return "ended"
        return "canceling" if self.cancel_us is not None else "in_progress"

    def has_results(self, now_us: int) -> bool:
        """Whether the results can be fetched."""
        return self.ended_us is not None and now_us < self.archived_us


def insert_batch(
    db: sqlite3.Connection,
    requests: Iterable[tuple[str, dict[str, Any]]],
    *,
    workspace: str,
    api_version: str,
    now_us: int,
    processing_us: int,
    seed: int,
) -> Batch:
    """Write a batch and its requests, inside the caller's transaction.

    Raises:
        ApiError: A custom_id comes twice, or ``requests`` raises it while it is read.
    """
    batch_id = "msgbatch_01" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(22))
    cursor = db.execute(
        "INSERT INTO batches (id, workspace, api_version, created_us, processing_us) VALUES (?, ?, ?, ?, ?)",
        (batch_id, workspace, api_version, now_us, processing_us),
    )
    ordinal = cursor.lastrowid or 0
    total = 0
    for custom_id, params in requests:
        row = (ordinal, total, custom_id, _shuffle_number(seed, ordinal, custom_id), to_json(params))
        try:
            db.execute("INSERT INTO requests (batch, position, custom_id, shuffle, params) VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            text = "requests: custom_id's must be unique within a batch. Duplicate custom_id found: "
            raise bad_request(text + custom_id) from None
        total += 1
    db.execute("UPDATE batches SET total = ? WHERE ordinal = ?", (total, ordinal))
    return find_batch(db, batch_id, workspace)


def insert_conformance_batch(store: Store, now_us: int) -> None:
    """Seed the ended batch that the SDK's own tests ask for by its literal id."""
    with store.write() as db:
        db.execute(
            "INSERT OR IGNORE INTO batches (id, workspace, api_version, created_us, processing_us, ended_us)"
            " VALUES (?, ?, '', ?, 0, ?)",
            (CONFORMANCE_ID, EVERY_WORKSPACE, now_us, now_us),
        )


def find_batch(db: sqlite3.Connection, batch_id: str, workspace: str) -> Batch:
    """The batch, if the workspace may see it."""
    row = db.execute(
        "SELECT * FROM batches WHERE id = ? AND workspace IN (?, ?) AND NOT deleted",
        (batch_id, workspace, EVERY_WORKSPACE),
    ).fetchone()
    if row is None:
        raise ApiError(404, "not_found_error", f"Message Batch `{batch_id}` not found.")
    return Batch(**row)


def list_batches(
    db: sqlite3.Connection, workspace: str, *, limit: int, after: int | None, before: int | None
) -> tuple[list[Batch], bool]:
    """One page, newest first, and whether more follow in the direction of travel.

    ``after`` and ``before`` are ordinals of batches that bound the page on its newer and its older side.
    """
    walks_back = before is not None and after is None
    rows = db.execute(
        "SELECT * FROM batches WHERE workspace IN (?1, ?2) AND NOT deleted"
        " AND (?3 IS NULL OR ordinal < ?3) AND (?4 IS NULL OR ordinal > ?4)"
        " ORDER BY CASE WHEN ?5 THEN ordinal ELSE -ordinal END LIMIT ?6",
        (workspace, EVERY_WORKSPACE, after, before, walks_back, limit + 1),
    ).fetchall()
    page = [Batch(**row) for row in rows[:limit]]
    return (page[::-1] if walks_back else page), len(rows) > limit


def cancel_batch(db: sqlite3.Connection, batch: Batch, now_us: int) -> None:
    """Mark the batch as canceling; doing so again changes nothing."""
    if batch.workspace == EVERY_WORKSPACE or batch.status == "canceling":
        return
    if batch.ended_us is not None:
        raise bad_request("Batches that have ended cannot be canceled.")
    db.execute("UPDATE batches SET cancel_us = ? WHERE ordinal = ?", (now_us, batch.ordinal))


def delete_batch(db: sqlite3.Connection, batch: Batch) -> None:
    """Forget an ended batch; what was billed stays known to the test instrument."""
    if batch.workspace == EVERY_WORKSPACE:
        return
    if batch.ended_us is None:
        raise bad_request("In progress batches cannot be deleted. Consider canceling the batch instead.")
    db.execute("UPDATE batches SET deleted = 1 WHERE ordinal = ?", (batch.ordinal,))
    db.execute("UPDATE requests SET params = '', result = NULL WHERE batch = ?", (batch.ordinal,))


def show_batch(db: sqlite3.Connection, batch: Batch, *, now_us: int, base_url: str) -> dict[str, Any]:
    """The batch object of the API; counts other than ``processing`` move only when the whole batch has ended."""
    counts = dict.fromkeys(("processing", *_STATES), 0)
    if batch.ended_us is None:
        counts["processing"] = batch.total
    else:
        rows = db.execute("SELECT state, count(*) AS n FROM requests WHERE batch = ? GROUP BY state", (batch.ordinal,))
        counts |= {row["state"]: row["n"] for row in rows}
    is_archived = batch.ended_us is not None and now_us >= batch.archived_us
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": batch.status,
        "request_counts": counts,
        "created_at": timestamp(batch.created_us),
        "expires_at": timestamp(batch.expires_us),
        "ended_at": timestamp(batch.ended_us),
        "archived_at": timestamp(batch.archived_us) if is_archived else None,
        "cancel_initiated_at": timestamp(batch.cancel_us),
        "results_url": f"{base_url}/v1/messages/batches/{batch.id}/results" if batch.ended_us is not None else None,
    }


def result_pages(store: Store, ordinal: int) -> Iterator[bytes]:
    """The result lines in shuffled order, some hundred at a time; no newline after the last one.

    Each page is its own short read, so a slow download never holds a transaction open.
    """
    last = (-1, -1)
    lead = ""
    while True:
        with store.read() as db:
            rows = db.execute(
                "SELECT * FROM requests WHERE batch = ? AND (shuffle, position) > (?, ?)"
                " ORDER BY shuffle, position LIMIT ?",
                (ordinal, *last, _PAGE_ROWS),
            ).fetchall()
        if not rows:
            return
        last = (rows[-1]["shuffle"], rows[-1]["position"])
        lines = [line for row in rows for line in _result_lines(row)]
        if lines:
            yield (lead + "\n".join(lines)).encode()
            lead = "\n"


def _result_lines(row: sqlite3.Row) -> list[str]:
    line = f'{{"custom_id":"{row["custom_id"]}","result":{row["result"]}}}'
    match row["flaw"]:
        case "missing_row":
            return []
        case "duplicate_row":
            return [line, line]
        case "unknown_row":
            return [line, f'{{"custom_id":"unknown-{secrets.token_hex(6)}","result":{row["result"]}}}']
        case _:
            return [line]


def timestamp(us: int | None) -> str | None:
    """RFC 3339 with microseconds, as the API writes it."""
    if us is None:
        return None
    seconds, rest = divmod(us, MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat(timespec="microseconds")


def _shuffle_number(seed: int, ordinal: int, custom_id: str) -> int:
    """Where a row falls in the results: fixed by the seed, unrelated to the order sent."""
    digest = hashlib.sha256(f"{seed}:{ordinal}:{custom_id}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
