"""Where every escalated item stands, replayed from the journal: in flight, settled, or to be asked again.

Pure bookkeeping in memory, one small record per item that was ever sent; the journal is the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipelines.costs.accounting import add_known, to_money
from pipelines.escalation.endings import ATTEMPTS_PER_TIER, Ending
from pipelines.escalation.journal import ChunkState

_NOTHING = to_money(Decimal(0))


@dataclass(frozen=True, slots=True)
class Standing:
    """One item that was sent at least once. Cost and tokens are summed over all its requests."""

    tier: int = 0
    attempts: int = 0
    is_in_flight: bool = False
    is_settled: bool = False
    label: str | None = None
    reason: str | None = None
    model: str | None = None
    cost_usd: Decimal | None = _NOTHING
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be asked next about an item."""

    tier: int


class Ledger:
    """All items of one run. ``tiers`` is how many models may be asked in turn."""

    def __init__(self, tiers: int) -> None:
        self._tiers = tiers
        self._items: dict[str, Standing] = {}
        self._reserved: dict[int, Decimal | None] = {}
        self._spent: Decimal | None = _NOTHING
        # Halved each time the provider refuses a batch as too large.
        self.most_items_per_chunk: float = math.inf

    @property
    def committed_usd(self) -> Decimal | None:
        """Spent so far, plus the worst case of everything in flight or of unknown cost; None without a price."""
        return add_known([self._spent, *self._reserved.values()])

    def next_step(self, item_id: str) -> Step | None:
        """What to ask next about a doubtful item; None if it is in flight or settled."""
        standing = self._items.get(item_id)
        if standing is None:
            return Step(0)
        return None if standing.is_in_flight or standing.is_settled else Step(standing.tier)

    def standing(self, item_id: str) -> Standing:
        """Where an item stands; a fresh record for one never sent."""
        return self._items.get(item_id, Standing())

    def begin(self, state: ChunkState) -> None:
        """Take note of a chunk in the journal: its items are in flight, its worst case is reserved."""
        self._reserved[state.chunk] = state.draft.reserved_cost_usd
        for item_id in state.draft.item_ids:
            standing = self.standing(item_id)
            attempts = standing.attempts + 1 if standing.tier == state.draft.tier else 1
            self._items[item_id] = replace(standing, tier=state.draft.tier, attempts=attempts, is_in_flight=True)

    def settle(self, chunk: int, answers: pa.Table) -> list[str]:
        """Take in how a chunk's items ended; the ids of those that are settled by it, in order."""
        reserved = self._reserved.pop(chunk)
        spent = add_known(answers["api_cost_usd"].to_pylist())
        # A row without usage may have been billed all the same: then what was held for the batch stays held.
        self._spent = add_known([self._spent, reserved if spent is None else spent])
        if Ending.SMALLER_BATCH in answers["ending"].to_pylist():
            self.most_items_per_chunk = min(self.most_items_per_chunk, len(answers) // 2)
        settled = []
        for row in answers.to_pylist():
            standing = self._after(self.standing(row["item_id"]), row)
            self._items[row["item_id"]] = standing
            if standing.is_settled:
                settled.append(row["item_id"])
        return settled

    def settled_labels(self) -> dict[str, str | None]:
        """Label of every item that is settled; None where nobody could answer."""
        return {item_id: standing.label for item_id, standing in self._items.items() if standing.is_settled}

    def unsettled(self, item_ids: list[str]) -> Iterator[str]:
        """Those of the given items that no answer has settled."""
        return (item_id for item_id in item_ids if not self.standing(item_id).is_settled)

    def _after(self, before: Standing, row: dict[str, Any]) -> Standing:
        """An item's standing after one of its requests ended."""
        ending = Ending(str(row["ending"]))
        summed = replace(
            before,
            is_in_flight=False,
            reason=row["reason"],
            model=row["model"],
            cost_usd=add_known([before.cost_usd, row["api_cost_usd"]]),
            input_tokens=before.input_tokens + _prompt_tokens(row),
            cached_tokens=before.cached_tokens + int(row["cache_read_tokens"] or 0),
            output_tokens=before.output_tokens + int(row["output_tokens"] or 0),
        )
        if ending is Ending.ANSWERED:
            return replace(summed, is_settled=True, label=row["label"], reason=None)
        if ending in (
            Ending.ACCOUNT,
            Ending.SMALLER_BATCH,
            Ending.NOT_SENT,
        ):  # not the item's doing: the attempt does not count
            return replace(summed, attempts=before.attempts - 1)
        if ending is Ending.AGAIN and before.attempts < ATTEMPTS_PER_TIER:
            return summed
        if before.tier + 1 < self._tiers:
            return replace(summed, tier=before.tier + 1, attempts=0)
        times = f" ({before.attempts} times)" if before.attempts > 1 else ""
        return replace(summed, is_settled=True, label=None, reason=f"{row['reason']}{times}")


def _prompt_tokens(row: dict[str, Any]) -> int:
    names = ("input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens")
    return sum(int(row[name] or 0) for name in names)
