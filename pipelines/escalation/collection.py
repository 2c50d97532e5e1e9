"""Taking in the answers of an ended message batch: all of them, once, with what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import pyarrow as pa

from pipelines.costs.accounting import to_money
from pipelines.costs.price_book import PriceBook
from pipelines.errors import ProviderError
from pipelines.escalation.journal import Intent, Submitted
from pipelines.escalation.provider import BatchProvider, ItemResult
from pipelines.escalation.requests import custom_id_of, read_answer
from pipelines.store.schemas import COLLECTED

# A connection cut at a line end gives fewer rows and no error, so reading again is part of reading.
_READS = 3


def collect_answers(
    run_id: str,
    intent: Intent,
    submitted: Submitted,
    provider: BatchProvider,
    labels: Sequence[str],
    prices: PriceBook,
    now: datetime,
) -> pa.Table:
    """Read every row of an ended batch into a table of schema `COLLECTED`, in the order of the intent.

    Raises:
        ProviderError: the rows are not exactly the items that were sent, even after reading again.
    """
    by_custom_id = {custom_id_of(run_id, intent.chunk, item_id): item_id for item_id in intent.item_ids}
    found: dict[str, ItemResult] = {}
    for _ in range(_READS):
        found = {row.custom_id: row for row in provider.results(submitted.batch_id)}
        if found.keys() == by_custom_id.keys():
            break
    else:
        missing, unknown = len(by_custom_id.keys() - found.keys()), len(found.keys() - by_custom_id.keys())
        raise ProviderError(
            f"message batch {submitted.batch_id} gave {missing} rows too few and {unknown} unknown ones "
            f"in {_READS} reads; nothing was taken from it. "
            "Run the same command again; if it stays so, ask the provider about this batch"
        )
    rows = [
        _row(item_id, found[custom_id], intent.model, labels, prices, submitted.submitted_at, now)
        for custom_id, item_id in by_custom_id.items()
    ]
    return pa.Table.from_pylist(rows, schema=COLLECTED)


def _row(
    item_id: str,
    result: ItemResult,
    asked_model: str,
    labels: Sequence[str],
    prices: PriceBook,
    submitted_at: datetime,
    now: datetime,
) -> dict[str, object]:
    label, reason = read_answer(result, labels)
    model = result.model or asked_model
    row: dict[str, object] = {"item_id": item_id, "label": label, "reason": reason, "model": model, "settled_at": now}
    if result.usage is None:
        # Errored, canceled and expired requests are not billed; a succeeded one without usage has an unknown cost.
        return row | {"api_cost_usd": None if result.kind == "succeeded" else to_money(Decimal(0))}
    usage = result.usage
    cost = prices.batch_cost(model, usage, submitted_at)
    return row | {
        "input_tokens": usage.input,
        "cache_write_5m_tokens": usage.cache_write_5m,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "cache_read_tokens": usage.cache_read,
        "output_tokens": usage.output,
        "api_cost_usd": None if cost is None else to_money(cost),
    }
