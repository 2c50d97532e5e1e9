"""A shard scored by a first tier over HTTP: read a plan part, ask, commit the predictions, as an engine's scorer does.

What it commits is what an engine commits, but for what no server tells. Of one's own server, calls are free to repeat,
and nothing is kept of a shard that is not whole; calls that cost money are journalled, a few at a time.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from pipelines.costs.accounting import add_known
from pipelines.costs.first_tier import worst_cost
from pipelines.errors import EngineError
from pipelines.scored_parts import items_of_plan, partly_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import FIRST_TIER, from_arrow, to_arrow
from workers.endpoint.client import FirstTierClient, OutcomeUnknownError, RefusedError, ServerFailedError
from workers.endpoint.paid_calls import AskedIntent, PaidCalls
from workers.endpoint.plain import plain
from workers.endpoint.served import ResolvedEndpoint
from workers.endpoint.ways import (
    MOST_MASS,
    PATHS,
    AskedOverHttp,
    LabelAnswer,
    NoAnswerError,
    Usage,
    completion_body,
    in_requests,
    joined,
    read_answer,
    read_tokens,
    read_usage,
    request_body,
    tokens_body,
    total,
)
from workers.engines.scorer import ShardReport

log = logging.getLogger(__name__)

# Paid calls between two writes of the journal: what a killed process can lose.
_PAID_AT_A_TIME = 64
# What a server answers to a text that is longer than its model reads; a shorter one is asked about, then, and said so.
_TOO_LONG = (400, 413, 422)
_SHORTEST_CUT, _CUT_TO, _CHARS_PER_TOKEN = 2_000, 0.75, 16
# So many calls in a row without an answer are the server's fault and no document's; one that may be paid counts more.
_MOST_IN_A_ROW, _WEIGHT_OF_UNKNOWN = 20, 4
# Of an item without an answer: as likely as nothing, and no number that a logarithm cannot be.
_NONE = math.log(1e-30)
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
class _Item:
    item_id: str
    text: str


@dataclass(frozen=True)
class _Row:
    """How asking about one item ended."""

    item_id: str
    answer: LabelAnswer | None
    failure: str | None
    note: str | None
    usage: Usage


_NOTHING_USED, _UNKNOWN = Usage(0, 0, 0), Usage(None, None, None)


class OverHttpScorer:
    """One first tier and the shards it is asked about; shards are scored in several threads at a time."""

    def __init__(
        self,
        run_root: str,
        model: ResolvedEndpoint,
        asked: AskedOverHttp,
        client: FirstTierClient,
    ) -> None:
        """Make ready; nothing is asked yet.

        Args:
            run_root: of the run's store.
            model: the first tier.
            asked: about every document.
            client: to its server.
        """
        self._store, self._model, self._asked, self._client = Store(run_root), model, asked, client
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

    def _items(self, plan_part: bytes) -> Iterator[_Item]:
        """Those with a text; of a server that others run, those that no policy holds back."""
        plan = from_arrow(plan_part, columns=["item_id", "text", "withheld"])
        for row in plan.to_pylist():
            if row["text"] is not None and not (self._is_paid and row["withheld"] is not None):
                yield _Item(row["item_id"], row["text"])

    def _paid(self, shard: int, items: Sequence[_Item]) -> pa.Table:
        known = self._journal.known(shard)
        tables = [*known.answered, *(self._lost(shard, intent) for intent in known.lost)]
        settled = {item_id for table in tables for item_id in table["item_id"].to_pylist()}
        todo = [item for item in items if item.item_id not in settled]
        step = max(_PAID_AT_A_TIME, self._at_once)
        for number, first in enumerate(range(0, len(todo), step), known.next_number):
            tables.append(self._journalled(shard, number, todo[first : first + step]))
        places = {item.item_id: place for place, item in enumerate(items)}
        whole = pa.concat_tables([FIRST_TIER.empty_table(), *tables])
        ids: list[str] = whole["item_id"].to_numpy().tolist()
        order = sorted(range(len(whole)), key=lambda row: places[ids[row]])
        return whole.take(pa.array(order, pa.int64()))

    def _journalled(self, shard: int, number: int, items: Sequence[_Item]) -> pa.Table:
        price, requests = self._model.asked.price, self._requests
        worst = add_known(worst_cost(price, requests * self._request_bytes(item), requests) for item in items)
        self._refuse_if_stopping()
        self._journal.intend(shard, number, [item.item_id for item in items], worst, datetime.now(UTC))
        rows: list[_Row] = []
        try:
            self._ask(items, rows)
        finally:  # whatever stops it, what was answered is paid
            table = self._table(rows)
            self._journal.answer(shard, number, table)
        return table

    def _request_bytes(self, item: _Item) -> int:
        around = self._asked.prompt
        words = [around.before, around.after, self._asked.instructions, *(label.name for label in self._asked.labels)]
        words += [label.description or "" for label in self._asked.labels]
        return len(item.text.encode()) + sum(len(word.encode()) for word in words)

    @property
    def _requests(self) -> int:
        """About each document."""
        return len(in_requests(self._model.served.token_ids))

    def _lost(self, shard: int, intent: AskedIntent) -> pa.Table:
        most = "an unknown amount" if intent.worst_cost_usd is None else f"up to {intent.worst_cost_usd:f} USD"
        self.tell(
            f"first tier: {len(intent.item_ids):,} calls about shard {shard} may have been paid ({most}), and their "
            "answers are lost with the process that made them; they are not made again: Claude is asked, or a person"
        )
        return self._table([_Row(item_id, None, _LOST, None, _UNKNOWN) for item_id in intent.item_ids])

    def _ask(self, items: Sequence[_Item], rows: list[_Row] | None = None) -> list[_Row]:
        """Ask about items, several at a time; ``rows`` holds what was answered, also where it ends early.

        Raises:
            EngineError: see `score`.
        """
        rows = [] if rows is None else rows
        self._refuse_if_stopping()
        try:
            futures: list[Future[_Row]] = [self._calls.submit(self._row, item) for item in items]
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

    def _row(self, item: _Item) -> _Row:
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

    def _answered(self, item: _Item) -> _Row:
        served, contents = self._model.served, list[dict[str, Any]]()
        ask = self._ask_by_ids if served.way == "prompt_ids" else self._ask_by_text
        try:
            note = ask(plain(item.text), contents)
        except RefusedError as error:
            failure = f"the first tier refuses the document: HTTP {error.status}"
            if error.status == 404:
                gone = EngineError(
                    f"the first tier at {served.endpoint} has no model '{served.name}' any more, or no "
                    f"{PATHS[served.way]} (HTTP 404); serve it again and run the same command again"
                )
                return self._unless_paid(item, gone, contents)
            # What was answered and cannot be read may have been paid.
            return self._failed(item, failure, contents, _NOTHING_USED if error.status >= 400 else _UNKNOWN)
        except ServerFailedError as error:
            return self._failed(item, f"the first tier fails on the document: {error}", contents, _NOTHING_USED)
        except OutcomeUnknownError as error:
            failure = f"the first tier did not answer: {error}; it may have been paid, and is not asked again"
            return self._failed(item, failure, contents, _UNKNOWN)
        except NoAnswerError as error:
            return self._failed(item, f"the first tier gave no label: {error}", contents, _NOTHING_USED)
        except EngineError as error:
            return self._unless_paid(item, error, contents)
        return self._read(item, contents, note)

    def _read(self, item: _Item, contents: Sequence[dict[str, Any]], note: str | None) -> _Row:
        served = self._model.served
        usages = [read_usage(served.way, content) for content in contents]
        usage = total(usages)
        if other := next(filter(None, map(self._other_than_begun, usages)), None):
            if not self._is_paid:
                raise EngineError(other)
            self._other = other
            return _Row(item.item_id, None, "another model answered in the first tier's place", None, usage)
        try:
            pairs = zip(contents, in_requests(served.token_ids), strict=True)
            answer = joined([read_answer(served.way, content, self._asked, ids) for content, ids in pairs])
        except NoAnswerError as error:
            return _Row(item.item_id, None, f"the first tier gave no label: {error}", note, usage)
        if math.fsum(map(math.exp, answer.logprobs)) > MOST_MASS:
            failure = "the first tier gave no label: its probabilities are over 1 together"
            return _Row(item.item_id, None, failure, note, usage)
        return _Row(item.item_id, answer, None, note, usage)

    def _failed(self, item: _Item, failure: str, contents: Sequence[dict[str, Any]], last: Usage) -> _Row:
        """Without an answer; ``contents`` came before the call that ended it, and were paid."""
        before = [read_usage(self._model.served.way, content) for content in contents]
        return _Row(item.item_id, None, failure, None, last if last is _UNKNOWN else total([*before, last]))

    def _unless_paid(self, item: _Item, error: EngineError, contents: Sequence[dict[str, Any]]) -> _Row:
        """The server is gone: nothing is known of the item, unless a part of its answer was paid.

        Raises:
            EngineError: it was not.
        """
        if not (self._is_paid and contents):
            raise error
        told = f"{len(contents)} of {self._requests} requests"
        failure = f"the first tier answered {told} about the document, which are paid, and is not asked again"
        return self._failed(item, failure, contents, _NOTHING_USED)

    def _ask_by_ids(self, text: str, contents: list[dict[str, Any]]) -> str | None:
        """The server's answers to the very tokens that an engine would be given, and what is to be known of them."""
        served, note = self._model.served, None
        tokens = read_tokens(self._client.post("/tokenize", tokens_body(served.name, text), is_free=True))
        room = (served.context_tokens or len(tokens)) - len(served.prefix) - len(served.suffix) - 1
        if served.context_tokens and len(tokens) > room:
            note = f"cut: the first tier read the first {room:,} of {len(tokens):,} tokens (limit: the model's context)"
            tokens = tokens[:room]
        prompt = [*served.prefix, *tokens, *served.suffix]
        for ids in in_requests(served.token_ids):
            contents.append(self._client.post(PATHS["prompt_ids"], completion_body(served.name, prompt, ids)))
        return note

    def _ask_by_text(self, text: str, contents: list[dict[str, Any]]) -> str | None:
        """The same of a server that makes its own tokens: what is too long for it, it refuses."""
        served, shown = self._model.served, text
        waiting = in_requests(served.token_ids)
        while waiting:
            body = request_body(
                served.way,
                served.name,
                self._asked,
                shown,
                token_ids=waiting[0],
                thinking_off=served.turns_thinking_off,
            )
            try:
                contents.append(self._client.post(PATHS[served.way], body))
            except RefusedError as error:
                if contents or error.status not in _TOO_LONG or len(shown) <= _SHORTEST_CUT:
                    raise
                shown = shown[: self._shorter(len(shown))]
            else:
                del waiting[0]
        if len(shown) == len(text):
            return None
        return f"cut: the first tier read the first {len(shown):,} of {len(text):,} characters, as it refuses more"

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

    def _shorter(self, length: int) -> int:
        """How much to show where so much was too long; a model's context is reached in few steps."""
        known = self._model.served.context_tokens
        if known and length > known * _CHARS_PER_TOKEN:
            return known * _CHARS_PER_TOKEN
        return max(int(length * (_CUT_TO if known else _CUT_TO**2)), _SHORTEST_CUT)

    def _refuse_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise EngineError(_STOPPED)

    def _table(self, rows: Sequence[_Row]) -> pa.Table:
        now = datetime.now(UTC)
        none = [_NONE] * len(self._asked.labels)
        return pa.Table.from_pylist(
            [
                {
                    "item_id": row.item_id,
                    "label_logprobs": none if row.answer is None else list(row.answer.logprobs),
                    "label_mass": row.answer.mass if row.answer else None,
                    "failure": row.failure,
                    "note": row.note,
                    "input_tokens": row.usage.input_tokens,
                    "cached_tokens": row.usage.cached_tokens,
                    "output_tokens": row.usage.output_tokens,
                    "scored_at": now,
                }
                for row in rows
            ],
            schema=FIRST_TIER,
        )
