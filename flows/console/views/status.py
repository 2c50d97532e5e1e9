"""What a person sees of `pipeline status` and `pipeline watch`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from flows.console.printable import printable_line
from flows.console.progress import per_time, span
from pipelines.report.numbers import count, short_usd

if TYPE_CHECKING:
    from pipelines.status.record import RunStatus

_CELLS = 20
_SHOWN_BATCHES = 3


def status_lines(status: RunStatus, now: datetime | None = None) -> list[str]:
    """How far a run is; no name in it can begin a line of its own."""
    now = now or datetime.now(UTC)
    lines = [f"run       {status.run_id}: {status.state}", _plan(status), _score(status)]
    lines += [f"engines   {told}" for told in _engines(status)]
    lines += [f"Claude    {told}" for told in _claude(status, now)]
    lines += [f"routes    {_routes(status)}", f"cost      {_cost(status)}"]
    if status.last_commit_at and not status.is_complete:
        lines.append(f"last      sign of life {_ago(now, status.last_commit_at)} ago")
    return [printable_line(line) for line in [*lines, f"next      {status.next_step}"]]


def status_line(status: RunStatus) -> str:
    """The same in one line, for a log."""
    parts = [f"{status.state}: {_amount(status)}"]
    parts += (
        [f"{count(len(status.open_batches), 'message batch', 'message batches')} open"] if status.open_batches else []
    )
    parts += [_routes(status)] if status.routes else []
    return printable_line("; ".join([*parts, _cost(status)]))


def _plan(status: RunStatus) -> str:
    items = f"{_about(status, 'planned_items')}{status.planned_items:,} items in {status.shards:,} shards"
    told = f"plan      {items}{'' if status.is_planned else ' so far'}"
    return told + (_pace(status) if not status.scored_shards and not status.is_planned else "")


def _score(status: RunStatus) -> str:
    share = status.scored_items / status.planned_items if status.planned_items and status.is_planned else None
    bar = "" if share is None or status.is_complete else f"{_bar(share)} {share:.0%}  "
    return f"score     {bar}{_amount(status)}"


def _amount(status: RunStatus) -> str:
    if not status.scored_shards:
        return "nothing scored yet"
    if status.is_complete or (status.is_planned and status.scored_shards >= status.shards):
        return f"all {status.scored_items:,} items that could be read"
    scored = f"{_about(status, 'scored_items')}{status.scored_items:,}"
    planned = f" of {status.planned_items:,}" if status.is_planned else ""
    return f"{scored}{planned} items{_pace(status)}"


def _pace(status: RunStatus) -> str:
    if status.items_per_second is None:
        return ""
    left = "" if status.seconds_left is None else f", {span(status.seconds_left)} left"
    return f", {per_time(status.items_per_second)}{left}"


def _engines(status: RunStatus) -> list[str]:
    if status.devices is None and status.busy_share is None:
        return []
    is_scoring = status.stage in ("plan", "score")
    when = "of late" if is_scoring else "of the time they were held"
    busy = "" if status.busy_share is None else f"busy {status.busy_share:.0%} {when}"
    devices = "" if status.devices is None else f"{status.devices:,} {'device' if status.devices == 1 else 'devices'}"
    return [", ".join(part for part in (devices, busy) if part)]


def _claude(status: RunStatus, now: datetime) -> list[str]:
    if not status.batches_sent and not status.open_batches:
        return []
    lines = [f"{status.batches_collected:,} of {status.batches_sent:,} message batches answered"]
    for batch in status.open_batches[:_SHOWN_BATCHES]:
        sent = f"sent {_ago(now, batch.sent_at)} ago" if batch.sent_at else "about to be sent"
        lines.append(f"  open: {batch.items:,} items to {batch.model}, {sent}")
    more = len(status.open_batches) - _SHOWN_BATCHES
    return [*lines, f"  and {more:,} more"] if more > 0 else lines


def _routes(status: RunStatus) -> str:
    told = ", ".join(f"{items:,} {route}" for route, items in status.routes.items() if items)
    if not told:
        return "no rows published" if status.is_complete else "no rows published yet"
    return told if status.is_complete else f"{told} so far"


def _cost(status: RunStatus) -> str:
    who, name = ("first tier", "first_tier_cost_usd") if status.is_over_http else ("engine", "engine_cost_usd")
    first = f"{who} {_about(status, name)}{_usd(status.first_cost_usd)}"
    parts = f"{first}, Claude {_usd(status.claude_cost_usd)}"
    total = "" if status.cost_usd is None else f"{_about(status, 'cost_usd')}{_usd(status.cost_usd)} "
    so_far = "" if status.is_complete else "so far"
    told = f"{total}{so_far} ({parts})".strip() if total or so_far else parts
    if status.open_batches:
        held = status.reserved_usd
        told += f"; what is open may cost {'an unknown sum' if held is None else f'up to {_usd(held)}'} more"
    return told.replace("  ", " ")


def _ago(now: datetime, then: datetime) -> str:
    """By two clocks, of which the other may be ahead."""
    return span(max(0.0, (now - then).total_seconds()))


def _about(status: RunStatus, name: str) -> str:
    return "about " if name in status.is_about else ""


def _usd(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{short_usd(amount)} USD"


def _bar(share: float) -> str:
    full = min(_CELLS, int(share * _CELLS))
    return "█" * full + "░" * (_CELLS - full)
