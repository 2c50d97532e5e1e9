"""What a first tier over HTTP costs, by the tokens that it counted and the job's price of them."""

from __future__ import annotations

from decimal import Decimal

from pipelines.costs.accounting import to_money
from pipelines.job.endpoint import TokenPrice

# As rows and predictions name what `token_cost` takes, in its order.
TOKEN_COLUMNS = ("input_tokens", "cached_tokens", "output_tokens")
_PER_MILLION = Decimal(1_000_000)


def token_cost(
    price: TokenPrice | None, input_tokens: int | None, cached_tokens: int | None, output_tokens: int | None
) -> Decimal | None:
    """Of one call; None where there is no price, or the server did not tell its tokens.

    Args:
        price: of the job.
        input_tokens: all that was read, from a cache or not.
        cached_tokens: of these; None where the server does not tell: then all are at the full price.
        output_tokens: written.
    """
    if price is None or input_tokens is None or output_tokens is None:
        return None
    cached = min(cached_tokens or 0, input_tokens)
    cached_price = price.input if price.cache_read is None else price.cache_read
    cost = (input_tokens - cached) * price.input + cached * cached_price + output_tokens * price.output
    return to_money(cost / _PER_MILLION)


def worst_cost(price: TokenPrice | None, request_bytes: int, output_tokens: int = 1) -> Decimal | None:
    """The most that a call can cost: no token is less than a byte; twice that, for what a chat template puts around."""
    dearest = None if price is None else max(price.input, price.cache_read or Decimal(0))
    if price is None or dearest is None:
        return None
    return to_money((2 * request_bytes * dearest + output_tokens * price.output) / _PER_MILLION)
