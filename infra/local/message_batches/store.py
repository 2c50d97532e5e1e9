"""The state folder: one SQLite file in WAL mode, the clock, the request log and the prompt cache.

Everything the service knows is in that file and each change is one transaction, so a kill -9 at any moment
leaves a state from which a new process goes on.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    api_version TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    processing_us INTEGER NOT NULL,
    total INTEGER NOT NULL DEFAULT 0,
    cancel_us INTEGER,
    ended_us INTEGER,
    faults TEXT,                        -- faults acted out on the whole batch, JSON list; null: not yet looked up
    deleted INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS requests (
    batch INTEGER NOT NULL,             -- ordinal of the batch
    position INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    shuffle INTEGER NOT NULL,           -- order in the results
    params TEXT NOT NULL,
    state TEXT,                         -- null until processed
    result TEXT,
    usage TEXT,                         -- set on billed rows; survives deletion of the batch
    flaw TEXT,                          -- missing_row, duplicate_row or unknown_row in the results
    PRIMARY KEY (batch, position),
    UNIQUE (batch, custom_id)
);
CREATE INDEX IF NOT EXISTS requests_shuffled ON requests (batch, shuffle, position);
CREATE INDEX IF NOT EXISTS requests_waiting ON requests (batch, position) WHERE state IS NULL;
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    scope TEXT NOT NULL,                -- call, batch or row
    kind TEXT NOT NULL,
    remaining INTEGER,                  -- null: for ever
    match_text TEXT,
    match_ordinal INTEGER,
    delay_ms INTEGER NOT NULL DEFAULT 0,
    retry_after INTEGER
);
CREATE TABLE IF NOT EXISTS log (
    seq INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    query TEXT NOT NULL,
    status INTEGER,                     -- null: the connection was dropped
    batch_id TEXT,
    requests INTEGER,                   -- in the body of a create call; their custom_ids are all different
    fault TEXT,
    usage TEXT                          -- of a direct message
);
CREATE TABLE IF NOT EXISTS prompt_cache (prefix TEXT PRIMARY KEY, expires_us INTEGER NOT NULL);
"""
_FORGET_ALL = (
    "DELETE FROM batches",
    "DELETE FROM requests",
    "DELETE FROM faults",
    "DELETE FROM log",
    "DELETE FROM prompt_cache",
    "DELETE FROM settings",
    "DELETE FROM sqlite_sequence",  # ordinals start at 1 again
)
MICROSECONDS = 1_000_000


class Store:
    """Connections to the state file: one writer at a time, a fresh connection for each reader."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.sqlite"
        self._lock = threading.Lock()
        self._writer = self._connect()
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.executescript(_SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=60)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing, only a power cut would
        return connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back on an exception."""
        with self._lock, self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            yield self._writer

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees what is committed."""
        with closing(self._connect()) as connection:
            yield connection

    def reset(self) -> None:
        """Forget everything, fault list and clock included."""
        with self.write() as db:
            for statement in _FORGET_ALL:
                db.execute(statement)

    def close(self) -> None:
        """Close the writer; readers close themselves."""
        self._writer.close()


class Clock:
    """Real time plus an offset that tests can move forward; kept in the state, so a restart keeps it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now_us(self) -> int:
        """Microseconds since 1970, as the service sees it."""
        with self._store.read() as db:
            row = db.execute("SELECT value FROM settings WHERE name = 'clock_offset_us'").fetchone()
        return time.time_ns() // 1000 + (row["value"] if row else 0)

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO settings VALUES ('clock_offset_us', ?1) ON CONFLICT DO UPDATE SET value = value + ?1",
                (round(seconds * MICROSECONDS),),
            )


@dataclass(frozen=True)
class StoredPromptCache:
    """The prompt cache of the whole service, inside the caller's transaction."""

    db: sqlite3.Connection
    now_us: int

    def touch(self, prefix: str, ttl_seconds: int) -> bool:
        """Say whether the prefix was cached; each use renews it."""
        row = self.db.execute("SELECT expires_us FROM prompt_cache WHERE prefix = ?", (prefix,)).fetchone()
        expires_us = self.now_us + ttl_seconds * MICROSECONDS
        self.db.execute("INSERT OR REPLACE INTO prompt_cache VALUES (?, ?)", (prefix, expires_us))
        return row is not None and bool(row["expires_us"] > self.now_us)


@dataclass(frozen=True)
class LogEntry:
    """One request as the service saw it; ``status`` is None where the connection was dropped."""

    method: str
    path: str
    query: str
    status: int | None
    batch_id: str | None = None
    requests: int | None = None
    fault: str | None = None
    usage: dict[str, Any] | None = None


def write_log(db: sqlite3.Connection, at_us: int, entry: LogEntry) -> None:
    """Append to the request log."""
    values = vars(entry) | {"at_us": at_us, "usage": json.dumps(entry.usage) if entry.usage else None}
    db.execute(
        "INSERT INTO log (at_us, method, path, query, status, batch_id, requests, fault, usage)"
        " VALUES (:at_us, :method, :path, :query, :status, :batch_id, :requests, :fault, :usage)",
        values,
    )
