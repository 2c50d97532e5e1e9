"""What answering first has cost, by engines or a first tier over HTTP, and what is said where a cost is not known."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol


class _Part(Protocol):
    @property
    def gpu_cost_usd(self) -> Decimal | None: ...

    @property
    def first_tier_cost_usd(self) -> Decimal | None: ...


def first_cost_usd(part: _Part) -> Decimal | None:
    """Of a route or a whole run; one of the two columns is always empty."""
    return part.gpu_cost_usd if part.gpu_cost_usd is not None else part.first_tier_cost_usd


def cost_warnings(
    gpu_cost: Decimal | None, api_cost: Decimal | None, first_tier: str | None, first_tier_cost: Decimal | None
) -> list[str]:
    """One for each part that is not known; ``first_tier`` is set where a server answered in the engines' place."""
    warnings = []
    if first_tier and first_tier_cost is None:
        warnings.append(
            "what the first tier costs is unknown: set model.price in the job; where it is set, a call broke off or "
            "its server did not tell its tokens"
        )
    elif not first_tier and gpu_cost is None:
        warnings.append("engine cost is unknown: set compute.device_hour_usd in the job")
    if api_cost is None:
        warnings.append("cost of Claude is unknown: its model is not in the price book, or rows came without usage")
    return warnings
