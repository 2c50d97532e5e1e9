"""A shard scored by a first tier over HTTP: read a plan part, ask, commit the predictions, as an engine's scorer does.

What it commits is what an engine commits, but for what no server tells. Of one's own server, calls are free to repeat,
and nothing is kept of a shard that is not whole; calls that cost money are journalled, a few items at a time. What is
asked about an item is its task's: `workers.endpoint.labels`, `workers.endpoint.reviews`.
"""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipelines.costs.accounting import add_known
from pipelines.errors import EngineError
from pipelines.scored_parts import items_of_plan, partly_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow, to_arrow
from workers.endpoint.client import FirstTierClient, OutcomeUnknownError, RefusedError, ServerFailedError
from workers.endpoint.paid_calls import AskedIntent, PaidCalls
from workers.endpoint.served import ResolvedEndpoint
from workers.endpoint.ways import PATHS, NoAnswerError, Usage, read_usage, total
from workers.engines.scorer import ShardReport

log = logging.getLogger(__name__)

# Items asked about for money between two writes of the journal: what a killed process can lose.
_PAID_AT_A_TIME = 64
# So many calls in a row without an answer are the server's fault and no document's; one that may be paid counts more.
_MOST_IN_A_ROW, _WEIGHT_OF_UNKNOWN = 20, 4
_STOPPED = "the first tier is asked no more: the run was stopped; run the same command again"
_NO_ANSWERS = (
    f"the first tier has given no answer to {_MOST_IN_A_ROW} calls or fewer in a row (the log has the last reason); "
    "see to the server, and run the same command again: what is committed is kept, and no paid call is made again"
)
_LOST = (
    "the process that asked the first tier was killed before its answer was kept; it may have been paid, and is not "
    "asked again"
)


@dataclass(frozen=True)
class Item:
    """What is asked about."""

    item_id: str
    document_id: str
    text: str


@dataclass(frozen=True)
class Row:
    """How asking about one item ended; ``answer`` holds the columns of the predictions that are its task's."""

    item_id: str
    answer: Mapping[str, Any] | None
    failure: str | None
    note: str | None
    usage: Usage


_NOTHING_USED, _UNKNOWN = Usage(0, 0, 0), Usage(None, None, None)


class _OtherModelError(Exception):
    """A hosted server has answered as another model: what is paid is kept, and no more is asked."""


class OverHttpScorer(ABC):
    """One first tier and the shards it is asked about; shards are scored in several threads at a time."""

    schema: pa.Schema  # of the predictions
    wanted: str  # of each item, in a word

    def __init__(
        self,
        run_root: str,
        model: ResolvedEndpoint,
        client: FirstTierClient,
    ) -> None:
        """Make ready; nothing is asked yet.

        Args:
            run_root: of the run's store.
            model: the first tier.
            client: to its server.
        """
        self._store, self._model, self._client = Store(run_root), model, client
        self.tell: Callable[[str], object] = log.warning  # what a person is to know
        self._journal = PaidCalls(self._store)
        self._is_paid = model.served.where == "hosted"
        self._at_once = model.asked.requests_at_once
        self._calls = ThreadPoolExecutor(self._at_once, thread_name_prefix="first-tier")
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._other: str | None = None  # who answers now, if not the one that the run was begun with
        self._told_of_fingerprint = False

    def close(self) -> None:
        """Begin no call any more; those under way come to their end."""
        self._stopping.set()
        self._client.give_up()
        self._calls.shutdown(wait=True, cancel_futures=True)

    def score(self, shard: int) -> ShardReport:
        """Score one shard and commit its predictions.

        Raises:
            EngineError: the server gives no answers any more, or `close` was called meanwhile.
        """
        plan_part = self._store.read(layout.plan_part(shard))
        items = list(self._items(plan_part))
        table = self._paid(shard, items) if self._is_paid else self._table(self._ask(items))
        part = partly_scored_part(items_of_plan(plan_part), table)
        self._store.create(layout.predictions_part(shard), to_arrow(part))
        return ShardReport(shard, len(table), os.getpid())

    def _items(self, plan_part: bytes) -> Iterator[Item]:
        """Those with a text; of a server that others run, those that no policy holds back."""
        plan = from_arrow(plan_part, columns=["item_id", "document_id", "text", "withheld"])
        for row in plan.to_pylist():
            if row["text"] is not None and not (self._is_paid and row["withheld"] is not None):
                yield Item(row["item_id"], row["document_id"], row["text"])

    def _paid(self, shard: int, items: Sequence[Item]) -> pa.Table:
        known = self._journal.known(shard)
        tables = [*known.answered, *(self._lost(shard, intent) for intent in known.lost)]
        settled = {item_id for table in tables for item_id in table["item_id"].to_pylist()}
        todo = [item for item in items if item.item_id not in settled]
        step = max(_PAID_AT_A_TIME, self._at_once)
        for number, first in enumerate(range(0, len(todo), step), known.next_number):
            tables.append(self._journalled(shard, number, todo[first : first + step]))
        places = {item.item_id: place for place, item in enumerate(items)}
        whole = pa.concat_tables([self.schema.empty_table(), *tables])
        ids: list[str] = whole["item_id"].to_numpy().tolist()
        order = sorted(range(len(whole)), key=lambda row: places[ids[row]])
        return whole.take(pa.array(order, pa.int64()))

    def _journalled(self, shard: int, number: int, items: Sequence[Item]) -> pa.Table:
        worst = add_known(self._worst_cost(item) for item in items)
        self._refuse_if_stopping()
        self._journal.intend(shard, number, [item.item_id for item in items], worst, datetime.now(UTC))
        rows: list[Row] = []
        try:
            self._ask(items, rows)
        finally:  # whatever stops it, what was answered is paid
            table = self._table(rows)
            self._journal.answer(shard, number, table)
        return table

    def _lost(self, shard: int, intent: AskedIntent) -> pa.Table:
        most = "an unknown amount" if intent.worst_cost_usd is None else f"up to {intent.worst_cost_usd:f} USD"
        self.tell(
            f"first tier: {len(intent.item_ids):,} calls about shard {shard} may have been paid ({most}), and their "
            "answers are lost with the process that made them; they are not made again: Claude is asked, or a person"
        )
        return self._table([Row(item_id, None, _LOST, None, _UNKNOWN) for item_id in intent.item_ids])

    def _ask(self, items: Sequence[Item], rows: list[Row] | None = None) -> list[Row]:
        """Ask about items, several at a time; ``rows`` holds what was answered, also where it ends early.

        Raises:
            EngineError: see `score`.
        """
        rows = [] if rows is None else rows
        self._refuse_if_stopping()
        try:
            futures: list[Future[Row]] = [self._calls.submit(self._row, item) for item in items]
        except RuntimeError as error:  # shut down a moment ago
            raise EngineError(_STOPPED) from error
        try:
            for future in futures:
                rows.append(future.result())
        except CancelledError as error:
            raise EngineError(_STOPPED) from error
        finally:
            for future in futures[len(rows) :]:
                future.cancel()
            under_way = [future for future in futures[len(rows) :] if not future.cancelled()]
            wait(under_way)
            rows.extend(future.result() for future in under_way if future.exception() is None)
        return rows

    def _row(self, item: Item) -> Row:
        self._refuse_if_stopping()
        with self._lock:
            is_hopeless, other = self._in_a_row >= _MOST_IN_A_ROW, self._other
        if other:
            raise EngineError(other)
        if is_hopeless:
            raise EngineError(_NO_ANSWERS)
        row = self._answered(item)
        with self._lock:
            weight = _WEIGHT_OF_UNKNOWN if row.usage is _UNKNOWN else 1
            self._in_a_row = self._in_a_row + weight if row.failure else 0
            is_hopeless = self._in_a_row >= _MOST_IN_A_ROW
        if is_hopeless:
            self.tell(f"first tier: {row.failure}; so do others before it")
        return row

    @abstractmethod
    def _asked(self, item: Item, usages: list[Usage]) -> Row:
        """Make the calls about an item, each noted by `_used`; what they raise, `_answered` makes a row of."""

    @abstractmethod
    def _columns(self, answer: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The predictions' columns that are the task's own; None: there is no answer."""

    @abstractmethod
    def _worst_cost(self, item: Item) -> Decimal | None:
        """The most that asking about an item can cost; None where there is no price."""

    def _answered(self, item: Item) -> Row:
        served, usages = self._model.served, list[Usage]()
        try:
            return self._asked(item, usages)
        except RefusedError as error:
            if error.status == 404:
                gone = EngineError(
                    f"the first tier at {served.endpoint} has no model '{served.name}' any more, or no "
                    f"{PATHS[served.way]} (HTTP 404); serve it again and run the same command again"
                )
                return self._unless_paid(item, gone, usages)
            failure = f"the first tier refuses the document: HTTP {error.status}"
            # What was answered and cannot be read may have been paid.
            return _failed(item, failure, usages, _NOTHING_USED if error.status >= 400 else _UNKNOWN)
        except ServerFailedError as error:
            return _failed(item, f"the first tier fails on the document: {error}", usages)
        except OutcomeUnknownError as error:
            failure = f"the first tier did not answer: {error}; it may have been paid, and is not asked again"
            return _failed(item, failure, usages, _UNKNOWN)
        except NoAnswerError as error:
            return _failed(item, f"the first tier gave no {self.wanted}: {error}", usages)
        except _OtherModelError:
            return _failed(item, "another model answered in the first tier's place", usages)
        except EngineError as error:
            return self._unless_paid(item, error, usages)

    def _used(self, content: Mapping[str, Any], usages: list[Usage]) -> None:
        """Take note of what an answered call took.

        Raises:
            EngineError: another model has answered, and nothing is paid.
            _OtherModelError: another model has answered.
        """
        usages.append(usage := read_usage(self._model.served.way, content))
        if other := self._other_than_begun(usage):
            if not self._is_paid:
                raise EngineError(other)
            self._other = other
            raise _OtherModelError

    def _unless_paid(self, item: Item, error: EngineError, usages: Sequence[Usage]) -> Row:
        """The server is gone: nothing is known of the item, unless a part of its answer was paid.

        Raises:
            EngineError: it was not.
        """
        if not (self._is_paid and usages):
            raise error
        calls = f"{len(usages)} call{'' if len(usages) == 1 else 's'}"
        failure = f"the first tier answered {calls} about the document, which are paid, and was gone before the rest"
        return _failed(item, failure, usages)

    def _other_than_begun(self, usage: Usage) -> str | None:
        """Answers of two models are not one run; a hosted server's fingerprint may change by the call."""
        served = self._model.served
        before, now = served.model, usage.model
        if before == now and usage.fingerprint not in (None, served.fingerprint):
            before, now = served.fingerprint, usage.fingerprint
            if self._is_paid:
                with self._lock:
                    is_told, self._told_of_fingerprint = self._told_of_fingerprint, True
                if not is_told:
                    self.tell(f"first tier: its server's fingerprint is {now} by now; the run was begun with {before}")
                return None
        if before == now:
            return None
        return (
            f"the first tier at {served.endpoint} is '{now}' by now, and was '{before}' when the run was begun: "
            "answers of two models are not one run. Serve the first again, or start a new run with another --run-id"
        )

    def _refuse_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise EngineError(_STOPPED)

    def _table(self, rows: Sequence[Row]) -> pa.Table:
        now = datetime.now(UTC)
        told = [
            {
                "item_id": row.item_id,
                "failure": row.failure,
                "note": row.note,
                "input_tokens": row.usage.input_tokens,
                "cached_tokens": row.usage.cached_tokens,
                "output_tokens": row.usage.output_tokens,
                "scored_at": now,
                **self._columns(row.answer),
            }
            for row in rows
        ]
        return pa.Table.from_pylist(told, schema=self.schema)


def _failed(item: Item, failure: str, usages: Sequence[Usage], last: Usage = _NOTHING_USED) -> Row:
    """Without an answer; ``usages`` are of the calls that were answered, ``last`` of the one that ended it."""
    usage = last if last is _UNKNOWN or not usages else total(usages)
    return Row(item.item_id, None, failure, None, usage)
