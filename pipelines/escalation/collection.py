"""Taking in the answers of an ended message batch: how every item ended, once, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pyarrow as pa

from pipelines.costs.accounting import to_money
from pipelines.costs.price_book import PriceBook
from pipelines.escalation.endings import (
    IN_A_SMALLER_BATCH,
    MISSING,
    NOT_SENT,
    TOO_LARGE_ALONE,
    Ending,
    ReadAnswer,
    RowVerdict,
    judge,
    label_reader,
)
from pipelines.escalation.journal import ChunkDraft, Intent, Submitted
from pipelines.escalation.provider import BatchProvider, ItemResult
from pipelines.escalation.requests import custom_id_of
from pipelines.store.schemas import COLLECTED

# A connection cut at a line end gives fewer rows and no error, so reading again is part of reading. Reading costs
# nothing; taking a row for lost that was only cut off makes us ask, and pay, again.
_READS = 10
# Of requests that failed: there is nothing to read.
_NO_ANSWER = label_reader(())


@dataclass(frozen=True)
class Collected:
    """The answers of a batch, schema `COLLECTED` in the order of the intent, and what was odd about its rows."""

    answers: pa.Table
    fault: str | None  # what kept the provider from answering, where that was no item's doing
    missing_rows: int
    repeated_rows: int
    unknown_rows: int


@dataclass(frozen=True)
class BatchReader:
    """Reads batches of one run."""

    run_id: str
    provider: BatchProvider
    # How the answer about each item of a batch is read.
    readers: Callable[[ChunkDraft], Callable[[str], ReadAnswer]]
    prices: PriceBook
    # Labels that, given by a tier, send the item on to the next tier all the same: one set per tier.
    passed_on: Sequence[frozenset[str | None]] = ()

    def collect(self, intent: Intent, submitted: Submitted, now: datetime) -> Collected:
        """Read every row of an ended batch.

        Raises:
            ProviderError: the rows cannot be read.
        """
        wanted = {custom_id_of(self.run_id, intent.chunk, item_id): item_id for item_id in intent.item_ids}
        for _ in range(_READS):
            found, seen = self._read(submitted.batch_id)
            if found.keys() == wanted.keys() and len(seen) == seen.total():
                break
        fault = _common_fault(list(found.values()), len(wanted))
        reader_of = self.readers(intent.draft)
        rows = [
            self._row(item_id, found.get(custom_id), reader_of, intent, submitted.submitted_at, now, fault)
            for custom_id, item_id in wanted.items()
        ]
        return Collected(
            answers=pa.Table.from_pylist(rows, schema=COLLECTED),
            fault=fault,
            missing_rows=len(wanted.keys() - found.keys()),
            repeated_rows=seen.total() - len(seen),
            unknown_rows=len(found.keys() - wanted.keys()),
        )

    def _read(self, batch_id: str) -> tuple[dict[str, ItemResult], Counter[str]]:
        """First row of each id, and how often each was there."""
        found: dict[str, ItemResult] = {}
        seen: Counter[str] = Counter()
        for row in self.provider.results(batch_id):
            found.setdefault(row.custom_id, row)
            seen[row.custom_id] += 1
        return found, seen

    def _row(
        self,
        item_id: str,
        result: ItemResult | None,
        reader_of: Callable[[str], ReadAnswer],
        intent: Intent,
        submitted_at: datetime,
        now: datetime,
        fault: str | None,
    ) -> dict[str, object]:
        verdict = self._judge(result, reader_of(item_id), intent.draft.tier)
        if fault and result and result.kind == "errored":
            verdict = RowVerdict(Ending.ACCOUNT, reason=fault)
        model = (result and result.model) or intent.draft.model
        row = _unbilled(item_id, verdict, model, now)  # errored, canceled and expired requests are not billed
        if result is not None and result.kind != "succeeded":
            return row
        if result is None or result.usage is None:  # it may have been billed all the same: unknown, not nothing
            return row | {"api_cost_usd": None}
        usage = result.usage
        cost = self.prices.batch_cost(model, usage, submitted_at, self.provider.price_provider)
        return row | {
            "input_tokens": usage.input,
            "cache_write_5m_tokens": usage.cache_write_5m,
            "cache_write_1h_tokens": usage.cache_write_1h,
            "cache_read_tokens": usage.cache_read,
            "output_tokens": usage.output,
            "api_cost_usd": None if cost is None else to_money(cost),
        }

    def _judge(self, result: ItemResult | None, read: ReadAnswer, tier: int) -> RowVerdict:
        if result is None:
            return MISSING
        verdict = judge(result, read)
        passed_on = self.passed_on[tier] if tier < len(self.passed_on) else frozenset()
        if verdict.ending is Ending.ANSWERED and verdict.label in passed_on:
            return RowVerdict(Ending.NEXT_TIER, reason=f"answered '{verdict.label}', a pass_on label")
        return verdict


def set_aside(draft: ChunkDraft, now: datetime) -> pa.Table:
    """What is recorded, schema `COLLECTED`, for a chunk that the provider refused as too large: nothing was billed."""
    return _never_sent(draft, IN_A_SMALLER_BATCH if len(draft.item_ids) > 1 else TOO_LARGE_ALONE, now)


def given_up(draft: ChunkDraft, now: datetime) -> pa.Table:
    """The same for a chunk that was not sent when the run was closed."""
    return _never_sent(draft, NOT_SENT, now)


def _never_sent(draft: ChunkDraft, verdict: RowVerdict, now: datetime) -> pa.Table:
    rows = [_unbilled(item_id, verdict, draft.model, now) for item_id in draft.item_ids]
    return pa.Table.from_pylist(rows, schema=COLLECTED)


def _unbilled(item_id: str, verdict: RowVerdict, model: str, now: datetime) -> dict[str, object]:
    return {
        "item_id": item_id,
        "ending": verdict.ending.value,
        "label": verdict.label,
        "findings": verdict.given and verdict.given.findings,
        "dropped_findings": verdict.given and verdict.given.dropped_findings,
        "reason": verdict.reason,
        "model": model,
        "api_cost_usd": to_money(Decimal(0)),
        "settled_at": now,
    }


def _common_fault(results: Sequence[ItemResult], items: int) -> str | None:
    """What stopped a whole batch: an account that may not spend, or one and the same refusal of every request.

    That is no item's doing: recording it as the items' end would throw a whole run away (bespokelabsai/curator#296).
    """
    errored = [result for result in results if result.kind == "errored"]
    for result in errored:
        if judge(result, _NO_ANSWER).ending is Ending.ACCOUNT:
            return f"{result.error_type}: {result.error_message}"
    faults = {(result.error_type, result.error_message) for result in errored}
    is_whole_batch = len(errored) == items > 1 and len(faults) == 1
    if is_whole_batch and judge(errored[0], _NO_ANSWER).ending is Ending.NEXT_TIER:
        return f"{errored[0].error_type}: {errored[0].error_message}"
    return None
