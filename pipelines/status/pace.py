"""How fast a stage is, by when its parts were committed, and by what a few of them hold.

In: numbers and times of committed parts, and items and device time of some. Out: items a second, device time, totals.
Knows nothing of stores.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from pipelines.costs.accounting import add_known, to_money

# Of late: long enough to hold several commits, short enough to follow what happens.
_WINDOW = timedelta(seconds=60)
_LEAST_PARTS = 8
# Nothing for so long, and for much longer than usual: it does not go on at that pace.
_STALLED_SECONDS, _STALLED_GAPS = 30.0, 4.0


@dataclass(frozen=True)
class PartFigures:
    """What one part holds."""

    items: int
    device_seconds: float = 0.0
    cost_usd: Decimal | None = None  # of a first tier over HTTP; None: unknown


@dataclass
class Parts:
    """The committed parts of one stage: when each was, and what some of them hold."""

    committed: dict[int, datetime] = field(default_factory=dict)
    sampled: dict[int, PartFigures] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.committed)

    @property
    def is_sampled_whole(self) -> bool:
        """Whether every part was looked into, so that sums are exact."""
        return self.sampled.keys() >= self.committed.keys()

    @property
    def last_at(self) -> datetime | None:
        """When the latest was committed."""
        return max(self.committed.values(), default=None)

    @property
    def frontier(self) -> int:
        """All below it are there."""
        return next(number for number in range(len(self.committed) + 1) if number not in self.committed)

    def to_sample(self, most: int) -> list[int]:
        """Parts to look into, spread over those that are there."""
        there = sorted(self.committed.keys() - self.sampled.keys())
        step = max(1, -(-len(there) // most)) if most > 0 else 1
        return there[::-step][:most][::-1]  # the latest among them

    def items_of(self, parts: float) -> float:
        """About how many items so many parts hold; 0 before any was looked into."""
        return parts * _mean([figures.items for figures in self.sampled.values()])

    @property
    def items(self) -> int:
        """Items of all parts."""
        return round(self.items_of(len(self)))

    @property
    def device_seconds(self) -> float:
        """Device time of all parts."""
        return len(self) * self._device_seconds_a_part

    @property
    def cost_usd(self) -> Decimal | None:
        """What a first tier over HTTP took for all parts; None where that of any is unknown."""
        known = add_known(figures.cost_usd for figures in self.sampled.values())
        return None if known is None else to_money(known * len(self) / max(len(self.sampled), 1))

    @property
    def _device_seconds_a_part(self) -> float:
        return _mean([figures.device_seconds for figures in self.sampled.values()])

    def pace(self, now: datetime) -> tuple[float, float] | None:
        """Of late, items a second, and device seconds a second; None where there is no telling, or it has stalled."""
        times = sorted(self.committed.values())
        if len(times) < 2:
            return None
        recent = times[-max(_LEAST_PARTS, sum(time >= times[-1] - _WINDOW for time in times)) :]
        span = (recent[-1] - recent[0]).total_seconds()
        if span <= 0:
            return None
        gap = span / (len(recent) - 1)
        silent = (now - recent[-1]).total_seconds()
        if silent > max(_STALLED_SECONDS, _STALLED_GAPS * gap):
            return None
        return self.items_of(1) / gap, self._device_seconds_a_part / gap


def _mean(numbers: Collection[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0
