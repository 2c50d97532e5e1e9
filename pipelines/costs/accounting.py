"""What each item cost, exactly.

Engine time is measured in whole nanoseconds and shared out in whole nanoseconds, so the shares add up to what was
measured. Money is Decimal with twelve places, the scale of the result columns; a run's total *is* the sum of its rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import PlainSerializer

from pipelines.store.schemas import MONEY

PLACES = Decimal(1).scaleb(-MONEY.scale)
_NANOSECONDS_PER_HOUR = Decimal(3_600 * 10**9)


def plain_money(amount: Decimal) -> str:
    """Every digit and no more: `0`, not `0E-12`; `0.03287435`, not `0.032874350000`."""
    return f"{amount.normalize():f}"


# Money in what a person may read as JSON: text, so that no reader makes a float of it.
PlainMoney = Annotated[Decimal, PlainSerializer(plain_money, return_type=str, when_used="json")]


def to_money(amount: Decimal) -> Decimal:
    """Round to the scale of the money columns, half to even."""
    return amount.quantize(PLACES, rounding=ROUND_HALF_EVEN)


def device_cost(nanoseconds: int, hour_usd: Decimal) -> Decimal:
    """Price of device time; ``nanoseconds`` counts every device of the engine's group."""
    return to_money(nanoseconds * hour_usd / _NANOSECONDS_PER_HOUR)


def share_nanoseconds(total: int, weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split ``total`` in proportion to ``weights``; the parts add up to it exactly.

    Cumulative rounding: part i is floor(total * W_i / W) - floor(total * W_{i-1} / W), W_i the running sum.
    Python integers inside, because total * W overflows 64 bits. Weights that are all zero count as equal.
    """
    running = np.cumsum(weights if weights.any() else np.ones_like(weights)).tolist()
    whole = running[-1]
    edges = np.array([0, *(total * part // whole for part in running)], dtype=np.int64)
    return np.diff(edges)


def share_over_questions(nanoseconds: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Share what each document took over the questions that were asked about it, by the length of their prompts.

    Which question had the document read, and which found it in the cache, is an accident of the order: so each bears
    the document alike, and its own words by itself. The parts of a document add up to what it took, exactly.

    Args:
        nanoseconds: as measured by request, shape [questions, documents].
        tokens: of the whole prompts, of the same shape.
    """
    pairs = zip(nanoseconds.sum(axis=0).tolist(), tokens.T, strict=True)
    shares = [share_nanoseconds(total, weights) for total, weights in pairs]
    return np.stack(shares, axis=1) if shares else nanoseconds


def sum_money(column: pa.ChunkedArray[Any]) -> Decimal | None:
    """Exact sum of a money column: None if any row's cost is unknown, 0 for no rows."""
    if column.null_count:
        return None
    total = pc.sum(column.cast(pa.decimal128(38, MONEY.scale))).as_py()
    return total if total is not None else Decimal(0).quantize(PLACES)


def add_known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Sum, or None as soon as one part is unknown: an unknown cost is never counted as nothing."""
    total = Decimal(0).quantize(PLACES)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
