"""What is said of a run whose cost is not known in full: whose part, and what gives it."""

from __future__ import annotations

from decimal import Decimal


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
