"""Numbers as people read them: three digits of money, shares that are never rounded up to a promise."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from pipelines.costs.accounting import plain_money

UNKNOWN = "unknown"
_DIGITS = 3


def short_usd(amount: Decimal | None) -> str:
    """Three digits, at least cents: `0.0334`, `1.20`, `1,234.00`; `unknown` where there is no price."""
    if amount is None:
        return UNKNOWN
    if not amount:
        return "0"
    places = max(2, _DIGITS - 1 - amount.adjusted())
    rounded = amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return f"{rounded:,f}"


def per_items(amount: Decimal | None, items: int, of: int) -> Decimal | None:
    """What ``of`` items would cost where ``items`` cost ``amount``; None where that is not known."""
    return None if amount is None or not items else amount * of / items


def share(part: int, whole: int) -> str:
    """One decimal place; what is not all is never `100.0%`, what is not nothing never `0.0%`."""
    if not whole:
        return "-"
    if 0 < part < whole:
        return f"{min(max(part / whole, 0.001), 0.999):.1%}"
    return f"{part / whole:.1%}"


def at_least(limit: float) -> str:
    """A lower limit: never rounded up, and as few digits as it has; `90%`, `70.9%`."""
    return f"{int(limit * 1000 + 1e-9) / 10:.10g}%"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 item`, `2,000 items`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def as_text(value: object) -> str:
    """What JSON has no kind for; money in plain notation, with every digit."""
    return plain_money(value) if isinstance(value, Decimal) else str(value)
