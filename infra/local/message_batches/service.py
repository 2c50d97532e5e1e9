"""The API's calls as plain functions of a request, free of asyncio: what each endpoint does.

``app`` brings the call in and takes the reply out; ``processing`` moves batches on in between.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from infra.local.message_batches import batches
from infra.local.message_batches.batches import Batch
from infra.local.message_batches.create_body import read_requests
from infra.local.message_batches.faults import CUTS, Fault, find_call_fault, use_up
from infra.local.message_batches.processing import Processor
from infra.local.message_batches.simulated_model.answers import AnswerKey
from infra.local.message_batches.simulated_model.catalogue import MODELS, find_model, model_info
from infra.local.message_batches.simulated_model.checks import check_prompt
from infra.local.message_batches.simulated_model.reply import ANSWER_FAULTS, ERROR_FAULTS, Simulator
from infra.local.message_batches.simulated_model.usage import input_tokens
from infra.local.message_batches.store import MICROSECONDS, Clock, Store, StoredPromptCache
from infra.local.message_batches.wire import JSONL, ApiError, CutResults, bad_request

MAX_BODY_BYTES = 256_000_000
MAX_PAGE = 1000


@dataclass(frozen=True)
class Settings:
    """Options with which the service was started."""

    state: Path
    answer_key: Path | None = None
    error_rate: float = 0.03
    seed: int = 0
    processing_seconds: float = 0.0
    cancel_seconds: float = 0.0
    max_body_bytes: int = MAX_BODY_BYTES
    conformance: bool = False


@dataclass(frozen=True)
class Call:
    """One request, its body in a file."""

    workspace: str
    version: str
    base_url: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: IO[bytes]
    fault: Fault | None = None

    @property
    def batch_id(self) -> str:
        """The batch named in the path."""
        return self.path["batch_id"]

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        try:
            value = json.load(self.body)
        except ValueError:
            raise bad_request("The request body is not valid JSON") from None
        if not isinstance(value, dict):
            raise bad_request("The request body should be an object")
        return value


@dataclass(frozen=True)
class Reply:
    """What to answer and what the log should say; a refusing fault leaves no response."""

    response: Response | None
    batch_id: str | None = None
    requests: int | None = None
    usage: dict[str, Any] | None = None
    fault: Fault | None = None


class Service:
    """Store, clock, simulated model and settings of a running service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.state)
        self.clock = Clock(self.store)
        key = AnswerKey.load(settings.answer_key, error_rate=settings.error_rate, seed=settings.seed)
        self._simulator = Simulator(key)
        self.processor = Processor(self.store, self.clock, self._simulator, settings.cancel_seconds)
        self.seed_conformance()

    def seed_conformance(self) -> None:
        """With ``--conformance``: the batch that the SDK's own tests expect to exist."""
        if self.settings.conformance:
            batches.insert_conformance_batch(self.store, self.clock.now_us())

    def take_fault(self, place: str, batch_id: str | None) -> Fault | None:
        """Use up the fault waiting for a call that is not a create."""
        with self.store.write() as db:
            row = db.execute("SELECT ordinal FROM batches WHERE id = ?", (batch_id,)).fetchone()
            fault = find_call_fault(db, place, row["ordinal"] if row else None)
            if fault is not None:
                use_up(db, fault)
        return fault

    def create(self, call: Call) -> Reply:
        """``POST /v1/messages/batches``: store the batch, unless a fault refuses it."""
        with self.store.write() as db:
            db.execute("SAVEPOINT unaccepted")
            batch = batches.insert_batch(
                db,
                read_requests(call.body),
                workspace=call.workspace,
                api_version=call.version,
                now_us=self.clock.now_us(),
                processing_us=round(self.settings.processing_seconds * MICROSECONDS),
                seed=self.settings.seed,
            )
            fault = find_call_fault(db, "create", batch.ordinal)
            shown = self._show(batch)
            if fault is not None and fault.refuses:
                db.execute("ROLLBACK TO unaccepted")
            if fault is not None:
                use_up(db, fault)
        if fault is not None and fault.refuses:
            return Reply(None, None, batch.total, fault=fault)
        self.processor.wake()
        return Reply(shown, batch.id, batch.total, fault=fault)

    def retrieve(self, call: Call) -> Reply:
        """``GET /v1/messages/batches/{id}``."""
        batch = self._find(call)
        response = self._show(batch, call.base_url)
        if batch.ended_us is None:
            response.headers["retry-after"] = "10"
        return Reply(response, batch.id)

    def list(self, call: Call) -> Reply:
        """``GET /v1/messages/batches``: newest first."""
        limit = _page_limit(call.query)
        after, before = (self._cursor(call, name) for name in ("after_id", "before_id"))
        with self.store.read() as db:
            page, has_more = batches.list_batches(db, call.workspace, limit=limit, after=after, before=before)
            now_us = self.clock.now_us()
            data = [batches.show_batch(db, batch, now_us=now_us, base_url=call.base_url) for batch in page]
        return Reply(JSONResponse(_page(data, has_more)))

    def cancel(self, call: Call) -> Reply:
        """``POST /v1/messages/batches/{id}/cancel``."""
        with self.store.write() as db:
            batch = batches.find_batch(db, call.batch_id, call.workspace)
            batches.cancel_batch(db, batch, self.clock.now_us())
        response = self._show(self._find(call), call.base_url)
        self.processor.wake()
        return Reply(response, batch.id)

    def delete(self, call: Call) -> Reply:
        """``DELETE /v1/messages/batches/{id}``."""
        with self.store.write() as db:
            batch = batches.find_batch(db, call.batch_id, call.workspace)
            batches.delete_batch(db, batch)
        return Reply(JSONResponse({"id": batch.id, "type": "message_batch_deleted"}), batch.id)

    def results(self, call: Call) -> Reply:
        """``GET /v1/messages/batches/{id}/results``: JSONL, shuffled, streamed."""
        batch = self._find(call)
        if not batch.has_results(self.clock.now_us()):
            raise ApiError(404, "not_found_error", f"Message Batch `{batch.id}` has no available results.")
        pages = batches.result_pages(self.store, batch.ordinal)
        if call.fault is not None and call.fault.kind in CUTS:
            return Reply(CutResults(call.fault.kind, pages), batch.id)
        headers = {"content-disposition": f'attachment; filename="{batch.id}_results.jsonl"'}
        return Reply(StreamingResponse(pages, media_type=JSONL, headers=headers), batch.id)

    def message(self, call: Call) -> Reply:
        """``POST /v1/messages``: one request, answered at once."""
        kind = call.fault.kind if call.fault else None
        with self.store.write() as db:
            message = self._simulator.reply(
                call.json(),
                version=call.version,
                tier="standard",
                cache=StoredPromptCache(db, self.clock.now_us()),
                message_id=f"msg_{secrets.token_hex(12)}",
                fault=kind if kind in ANSWER_FAULTS or kind in ERROR_FAULTS else None,
            )
        return Reply(JSONResponse(message), requests=1, usage=message["usage"])

    def count_tokens(self, call: Call) -> Reply:
        """``POST /v1/messages/count_tokens``."""
        params = call.json()
        check_prompt(params)
        return Reply(JSONResponse({"input_tokens": input_tokens(params)}))

    def models(self, call: Call) -> Reply:
        """``GET /v1/models``: all on one page."""
        return Reply(JSONResponse(_page([model_info(model) for model in MODELS], has_more=False)))

    def model(self, call: Call) -> Reply:
        """``GET /v1/models/{id}``; short names lead to the dated model."""
        model = find_model(call.path["model_id"])
        if model is None:
            raise ApiError(404, "not_found_error", f"model: {call.path['model_id']}")
        return Reply(JSONResponse(model_info(model)))

    def _find(self, call: Call) -> Batch:
        with self.store.read() as db:
            return batches.find_batch(db, call.batch_id, call.workspace)

    def _show(self, batch: Batch, base_url: str = "") -> Response:
        with self.store.read() as db:
            return JSONResponse(batches.show_batch(db, batch, now_us=self.clock.now_us(), base_url=base_url))

    def _cursor(self, call: Call, name: str) -> int | None:
        if name not in call.query or self.settings.conformance:
            return None  # the SDK's own tests send cursors that name nothing
        with self.store.read() as db:
            try:
                return batches.find_batch(db, call.query[name], call.workspace).ordinal
            except ApiError:
                raise bad_request(f"{name}: no such message batch") from None


def _page_limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", "20")
    if not text.isdecimal():
        raise bad_request("limit: Input should be a valid integer")
    if not 1 <= int(text) <= MAX_PAGE:
        raise bad_request(f"limit: Input should be between 1 and {MAX_PAGE}")
    return int(text)


def _page(data: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": has_more, "first_id": first, "last_id": last}
