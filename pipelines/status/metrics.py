"""The list of metrics: name, unit, meaning, and how each is read off `RunStatus`. Prefect and Prometheus show these.

Labels are the run's id and words of ours (a route, a stage, who is paid): never a document's text, an item or a key.
What is not known is left out, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.results import ROUTES
from pipelines.status.record import RunStatus

RUN_LABEL = "run"
_STAGES = ("plan", "score", "ask", "publish", "complete")
Value = tuple[str | None, float | int | None]  # of which label, how much; None: not known


@dataclass(frozen=True)
class Metric:
    """One metric, all of them numbers that rise and fall; ``label``: what its values are told apart by."""

    name: str
    unit: str
    about: str
    values: Callable[[RunStatus], Iterable[Value]]
    label: str | None = None


def _one(read: Callable[[RunStatus], Any]) -> Callable[[RunStatus], Iterable[Value]]:
    return lambda status: [(None, read(status))]


METRICS: tuple[Metric, ...] = (
    Metric(
        "sluice_run_stage",
        "0 or 1",
        "Where the run is: 1 at its stage.",
        lambda status: [(stage, int(stage == status.stage)) for stage in _STAGES],
        "stage",
    ),
    Metric("sluice_run_planned_items", "items", "Items planned so far.", _one(lambda status: status.planned_items)),
    Metric("sluice_run_scored_items", "items", "Items scored so far.", _one(lambda status: status.scored_items)),
    Metric("sluice_run_items_per_second", "items/s", "Pace of late.", _one(lambda status: status.items_per_second)),
    Metric("sluice_run_left_seconds", "seconds", "Left of scoring.", _one(lambda status: status.seconds_left)),
    Metric(
        "sluice_run_published_items",
        "items",
        "Rows published so far, by route.",
        lambda status: [(route, status.routes.get(route, 0)) for route in ROUTES],
        "route",
    ),
    Metric(
        "sluice_run_cost_usd",
        "US dollars",
        "Cost so far, by who is paid.",
        lambda status: [
            ("first_tier" if status.is_over_http else "engine", _number(status.first_cost_usd)),
            ("claude", _number(status.claude_cost_usd)),
        ],
        "paid",
    ),
    Metric(
        "sluice_run_reserved_usd",
        "US dollars",
        "The most that open message batches can still cost.",
        _one(lambda status: _number(status.reserved_usd)),
    ),
    Metric(
        "sluice_run_message_batches",
        "message batches",
        "Message batches: open at Claude, or answered.",
        lambda status: [("open", len(status.open_batches)), ("answered", status.batches_collected)],
        "state",
    ),
    Metric("sluice_run_devices", "devices", "GPUs, or cores, that engines hold.", _one(lambda status: status.devices)),
    Metric(
        "sluice_run_engine_busy_ratio",
        "0 to 1",
        "Share of the engines' time in which they compute.",
        _one(lambda status: status.busy_share),
    ),
    Metric(
        "sluice_run_last_commit_timestamp_seconds",
        "seconds since 1970",
        "When the run last committed something.",
        _one(lambda status: status.last_commit_at.timestamp() if status.last_commit_at else None),
    ),
)


def known_values(status: RunStatus) -> Iterator[tuple[Metric, str | None, float]]:
    """Every metric that is known, with its label's value."""
    for metric in METRICS:
        for label, value in metric.values(status):
            if value is not None:
                yield metric, label, float(value)


def _number(amount: Any) -> float | None:
    return None if amount is None else float(amount)
