"""Faults that tests switch on: which exist, which one applies now, and using it up.

A fault lies in the state file until it has happened ``times`` times, so it survives a restart of the service.
"""

import sqlite3
from dataclasses import dataclass
from typing import Any

from infra.local.message_batches.simulated_model.reply import ANSWER_FAULTS, ERROR_FAULTS

PLACES = ("create", "retrieve", "list", "results", "cancel", "process", "messages")
_REFUSING = frozenset(
    {"refuse_then_drop", "html_413", "not_found", "400_usage_limit", "401", "402", "403", "409"}
    | {"429", "429_spend_cap", "500", "503", "529"}
)
_ACCEPTING = frozenset({"accept_then_drop", "accept_then_500", "accept_then_504", "accept_then_garbled", "delay"})
CUTS = frozenset({"cut_content_length", "cut_chunked", "cut_within_line", "cut_at_line_end"})
DROPS = frozenset({"accept_then_drop", "refuse_then_drop"})
FLAWS = frozenset({"missing_row", "duplicate_row", "unknown_row"})
_OF_BATCHES = frozenset({"credit_balance", "expire_part", "cancel_part", "delay"})
_OF_ROWS = FLAWS | set(ANSWER_FAULTS) | (set(ERROR_FAULTS) - {"credit_balance"})
_FIELDS = {"at", "kind", "times", "match", "delay_ms", "retry_after"}


@dataclass(frozen=True)
class Fault:
    """One fault that is about to happen."""

    id: int
    kind: str
    delay_ms: int
    retry_after: int | None

    @property
    def refuses(self) -> bool:
        """Whether the call must have no effect."""
        return self.kind in _REFUSING


def kinds_at(place: str) -> frozenset[str]:
    """The kinds that make sense at one place."""
    if place == "process":
        return _OF_ROWS | _OF_BATCHES
    of_calls = _REFUSING | _ACCEPTING
    if place == "results":
        return of_calls | CUTS
    return of_calls | set(ANSWER_FAULTS) | set(ERROR_FAULTS) if place == "messages" else of_calls


def add_fault(db: sqlite3.Connection, spec: dict[str, Any]) -> None:
    """Switch a fault on.

    Raises:
        ValueError: The description is not understood; a fault that silently never happens would fool a test.
    """
    place, kind, match = spec.get("at"), str(spec.get("kind")), spec.get("match")
    if place not in PLACES:
        raise ValueError(f"at: {place!r} is not one of {PLACES}")
    if kind not in kinds_at(place):
        raise ValueError(f"kind: {kind!r} is not one of {sorted(kinds_at(place))}")
    if set(spec) - _FIELDS:
        raise ValueError(f"not understood: {sorted(set(spec) - _FIELDS)}")
    if not isinstance(match, str | int | None):
        raise ValueError("match: part of a custom_id, or the ordinal of a batch (the first one is 1)")
    times, delay_ms, retry_after = spec.get("times", 1), spec.get("delay_ms", 0), spec.get("retry_after")
    if not all(isinstance(number, int | None) for number in (times, delay_ms, retry_after)):
        raise ValueError("times, delay_ms and retry_after are whole numbers")
    text, ordinal = (match, None) if isinstance(match, str) else (None, match)
    db.execute(
        "INSERT INTO faults (at, scope, kind, remaining, match_text, match_ordinal, delay_ms, retry_after)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (place, _scope(place, kind), kind, times, text, ordinal, delay_ms or 0, retry_after),
    )


def list_faults(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """The faults that are still to happen."""
    return [dict(row) for row in db.execute("SELECT * FROM faults WHERE remaining IS NULL OR remaining > 0")]


def find_call_fault(db: sqlite3.Connection, place: str, ordinal: int | None) -> Fault | None:
    """The oldest fault waiting for a call that concerns a batch, or none."""
    return next(iter(_find(db, place, "call", ordinal, None)), None)


def find_batch_faults(db: sqlite3.Connection, ordinal: int) -> list[Fault]:
    """The processing faults that concern a batch as a whole."""
    return _find(db, "process", "batch", ordinal, None)


def find_row_fault(db: sqlite3.Connection, ordinal: int, custom_id: str) -> Fault | None:
    """The oldest processing fault waiting for one request."""
    return next(iter(_find(db, "process", "row", ordinal, custom_id)), None)


def use_up(db: sqlite3.Connection, fault: Fault) -> None:
    """Count one happening of the fault."""
    db.execute("UPDATE faults SET remaining = remaining - 1 WHERE id = ?", (fault.id,))


def _scope(place: str, kind: str) -> str:
    if place != "process":
        return "call"
    return "batch" if kind in _OF_BATCHES else "row"


def _find(db: sqlite3.Connection, place: str, scope: str, ordinal: int | None, custom_id: str | None) -> list[Fault]:
    """Faults that apply now, oldest first; without a custom_id, a match text is looked for in the whole batch."""
    rows = db.execute(
        "SELECT * FROM faults WHERE at = ?1 AND scope = ?2 AND (remaining IS NULL OR remaining > 0)"
        " AND (match_ordinal IS NULL OR match_ordinal = ?3)"
        " AND (match_text IS NULL OR CASE WHEN ?4 IS NOT NULL THEN instr(?4, match_text) ELSE EXISTS ("
        "   SELECT 1 FROM requests WHERE batch = ?3 AND instr(custom_id, match_text)) END)"
        " ORDER BY id",
        (place, scope, ordinal, custom_id),
    )
    return [Fault(row["id"], row["kind"], row["delay_ms"], row["retry_after"]) for row in rows]
