"""What goes over the wire besides plain JSON: the error shape, dropped connections and cut-off results."""

import asyncio
import json
import secrets
from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from infra.local.message_batches.faults import Fault

JSONL = "application/x-jsonl"
STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "not_found_error": 404,
    "api_error": 500,
    "overloaded_error": 529,
}
_FAULT_STATUS = {
    "400_usage_limit": (
        400,
        "invalid_request_error",
        "You have reached your specified API usage limits. You will regain access later.",
    ),
    "401": (401, "authentication_error", "invalid x-api-key"),
    "402": (402, "billing_error", "simulation: a payment problem"),
    "403": (403, "permission_error", "simulation: this key may not do that"),
    "409": (409, "conflict_error", "simulation: a conflict"),
    "429": (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    "429_spend_cap": (429, "rate_limit_error", "Your organization has reached its monthly spend limit."),
    "500": (500, "api_error", "Internal server error"),
    "503": (503, "api_error", "simulation: service unavailable"),
    "529": (529, "overloaded_error", "Overloaded"),
    "not_found": (404, "not_found_error", "Not found"),
    "accept_then_500": (500, "api_error", "Internal server error"),
    "accept_then_504": (504, "timeout_error", "Request timed out"),
}


class ApiError(Exception):
    """An answer in the API's error shape."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message

    def response(self) -> Response:
        """Make the HTTP response that tells the error."""
        return error_response(self.status, self.kind, self.message)


def bad_request(message: str) -> ApiError:
    """Make the error of a request that is not as the API wants it."""
    return ApiError(400, "invalid_request_error", message)


def new_request_id() -> str:
    """Make an opaque request id."""
    return f"req_{secrets.token_hex(12)}"


def error_response(
    status: int,
    kind: str,
    message: str,
    *,
    details: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """``{"type": "error", ...}``; the request id in body and header is the same."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if details:
        error["details"] = details
    request_id = new_request_id()
    body = {"type": "error", "error": error, "request_id": request_id}
    return JSONResponse(body, status, {"request-id": request_id} | (headers or {}))


def fault_response(fault: Fault) -> Response | None:
    """What the fault answers in place of the true response; None: it leaves the response as it is."""
    if fault.kind == "html_413":
        page = "<html><head><title>413 Request Entity Too Large</title></head><body></body></html>"
        return HTMLResponse(page, 413)
    if fault.kind == "accept_then_garbled":
        return Response('{"id": "msgbatch_', 200, media_type="application/json")
    if fault.kind not in _FAULT_STATUS:
        return None
    status, kind, message = _FAULT_STATUS[fault.kind]
    details = {"error_code": "enforced_spend_limit_reached"} if fault.kind == "429_spend_cap" else None
    headers = {"retry-after": str(fault.retry_after)} if fault.retry_after is not None else None
    return error_response(status, kind, message, details=details, headers=headers)


class DroppableProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which also hands the application its socket.

    ASGI cannot break a connection without an answer, nor break the framing of one; tests of a client need both.
    """

    # asyncio's base class names a wider transport; uvicorn narrows it, as here.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # see above
        """Put the transport into the scope of every request on this connection."""
        super().connection_made(transport)
        app = self.config.loaded_app

        async def with_transport(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            scope["transport"] = transport
            await app(scope, receive, send)

        self.app = with_transport


class Dropped(Response):
    """No answer at all: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Break the connection."""
        scope["transport"].abort()
        await _until_disconnected(receive)


class CutResults(Response):
    """The first rows of the results, ended in one of the ways in which a download can break off."""

    def __init__(self, kind: str, pages: Iterable[bytes]) -> None:
        super().__init__()
        lines = b"".join(pages).split(b"\n")
        kept, broken = lines[: len(lines) // 2], lines[len(lines) // 2]
        is_clean = kind == "cut_at_line_end"
        self._part = b"\n".join(kept if is_clean else [*kept, broken[: len(broken) // 2]])
        self._whole_size = sum(map(len, lines)) + len(lines) - 1
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the broken response to the socket by hand, as no HTTP library would."""
        lines = ["HTTP/1.1 200 OK", f"content-type: {JSONL}", "connection: close", "x-simulation: true"]
        body = self._part
        if self._kind == "cut_content_length":
            lines.append(f"content-length: {self._whole_size}")
        elif self._kind == "cut_chunked":
            lines.append("transfer-encoding: chunked")
            body = f"{self._whole_size:x}\r\n".encode() + body
        transport = scope["transport"]
        transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        transport.close()
        await _until_disconnected(receive)


async def _until_disconnected(receive: Receive) -> None:
    """Wait, as uvicorn would answer 500 for an application that returns silently on a connection it believes open."""
    while (await receive())["type"] != "http.disconnect":
        continue


def to_json(value: Any) -> str:
    """Compact ASCII JSON: safe for SQLite even where a document holds lone surrogates."""
    return json.dumps(value, separators=(",", ":"))
