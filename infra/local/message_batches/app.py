"""The HTTP side: routes, authentication, faults and the log around each call.

Every call runs in the same order: authenticate, read the body into a temporary file, look for a fault, do the
work in a thread, write the log, answer. The answer leaves after the log, so a client never knows of a call that
the log does not.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import IO

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.local.message_batches.control import control_routes
from infra.local.message_batches.faults import DROPS
from infra.local.message_batches.service import Call, Reply, Service
from infra.local.message_batches.simulated_model.checks import RequestRefusedError
from infra.local.message_batches.store import LogEntry, write_log
from infra.local.message_batches.wire import (
    STATUS_OF_TYPE,
    ApiError,
    Dropped,
    bad_request,
    error_response,
    fault_response,
    new_request_id,
)

API_VERSIONS = ("2023-06-01", "2026-10-21")
_SPOOL_BYTES = 1 << 20


def build_app(service: Service, on_ready: Callable[[], None]) -> ASGIApp:
    """The application; ``on_ready`` is called when it can answer."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        service.processor.start()
        on_ready()
        yield
        service.processor.stop()
        service.store.close()

    routes = [*_api_routes(service), *control_routes(service)]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _no_such_route})
    return MarkedAsSimulation(app)


def _api_routes(service: Service) -> list[Route]:
    batch = "/v1/messages/batches/{batch_id}"
    table: list[tuple[str, str, Callable[[Call], Reply], str | None]] = [
        ("POST", "/v1/messages/batches", service.create, "create"),
        ("GET", "/v1/messages/batches", service.list, "list"),
        ("GET", batch, service.retrieve, "retrieve"),
        ("DELETE", batch, service.delete, None),
        ("POST", f"{batch}/cancel", service.cancel, "cancel"),
        ("GET", f"{batch}/results", service.results, "results"),
        ("POST", "/v1/messages", service.message, "messages"),
        ("POST", "/v1/messages/count_tokens", service.count_tokens, None),
        ("GET", "/v1/models", service.models, None),
        ("GET", "/v1/models/{model_id}", service.model, None),
    ]
    return [
        Route(path, Endpoint(service, handler, place).__call__, methods=[verb]) for verb, path, handler, place in table
    ]


class Endpoint:
    """One route: everything around the handler that is the same for all of them."""

    def __init__(self, service: Service, handler: Callable[[Call], Reply], place: str | None) -> None:
        self._service = service
        self._handler = handler
        self._place = place

    async def __call__(self, request: Request) -> Response:
        """Answer one call."""
        with SpooledTemporaryFile(max_size=_SPOOL_BYTES) as body:
            reply = await self._reply(request, body)
        response = self._final_response(reply)
        await run_in_threadpool(self._log, request, reply, response)
        if reply.fault is not None:
            await asyncio.sleep(reply.fault.delay_ms / 1000)
        return response

    async def _reply(self, request: Request, body: IO[bytes]) -> Reply:
        try:
            await _spool(request, body, self._service.settings.max_body_bytes)
            call = _read_call(request, body)
            return await run_in_threadpool(self._work, call)
        except ClientDisconnect:
            return Reply(Dropped())
        except RequestRefusedError as refusal:
            status = STATUS_OF_TYPE[refusal.type]
            return Reply(error_response(status, refusal.type, refusal.message))
        except ApiError as error:
            return Reply(error.response(), request.path_params.get("batch_id"))

    def _work(self, call: Call) -> Reply:
        if self._place is None or self._place == "create":  # create decides on its fault within its transaction
            return self._handler(call)
        fault = self._service.take_fault(self._place, call.path.get("batch_id"))
        if fault is not None and fault.refuses:
            return Reply(None, call.path.get("batch_id"), fault=fault)
        return replace(self._handler(replace(call, fault=fault)), fault=fault)

    @staticmethod
    def _final_response(reply: Reply) -> Response:
        if reply.fault is not None:
            if reply.fault.kind in DROPS:
                return Dropped()
            instead = fault_response(reply.fault)
            if instead is not None:
                return instead
        return reply.response or Dropped()

    def _log(self, request: Request, reply: Reply, response: Response) -> None:
        entry = LogEntry(
            method=request.method,
            path=request.url.path,
            query=request.url.query,
            status=None if isinstance(response, Dropped) else response.status_code,
            batch_id=reply.batch_id,
            requests=reply.requests,
            fault=reply.fault.kind if reply.fault else None,
            usage=reply.usage,
        )
        now_us = self._service.clock.now_us()
        with self._service.store.write() as db:
            write_log(db, now_us, entry)


def _read_call(request: Request, body: IO[bytes]) -> Call:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    if not key:
        raise ApiError(401, "authentication_error", "x-api-key header is required")
    version = request.headers.get("anthropic-version")
    if version is None:
        raise bad_request("anthropic-version: header is required")
    if version not in API_VERSIONS:
        raise bad_request(f"anthropic-version: {version!r} is not a valid version")
    workspace = request.headers.get("anthropic-workspace-id") or hashlib.sha256(key.encode()).hexdigest()[:16]
    base_url = f"{request.url.scheme}://{request.headers.get('host', '')}"
    return Call(workspace, version, base_url, request.path_params, request.query_params, body)


async def _spool(request: Request, body: IO[bytes], max_bytes: int) -> None:
    """Read the whole body, even one that is too large: a client should get to read why it was refused."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= max_bytes:
            await run_in_threadpool(body.write, chunk)
    if size > max_bytes:
        raise ApiError(413, "request_too_large", f"Request exceeds the maximum size of {max_bytes} bytes")
    body.seek(0)


async def _no_such_route(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return error_response(status, "not_found_error" if status == 404 else "invalid_request_error", "Not Found")


class MarkedAsSimulation:
    """Puts ``x-simulation: true`` and a request id on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, marking its response."""

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-simulation"] = "true"
                headers["anthropic-organization-id"] = "simulation"
                headers.setdefault("request-id", new_request_id())
            await send(message)

        await self._app(scope, receive, send_marked)
