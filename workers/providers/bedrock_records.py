"""The files of a Bedrock batch inference job: lines that go in, lines that come out.

Pure: requests to JSONL, output lines to `ItemResult`. Knows nothing of S3, of jobs or of clients.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipelines.costs.price_book import TokenUsage
from pipelines.escalation.provider import ItemResult, Request

# What Bedrock wants instead of the anthropic-version header: the only value it has for the Messages form.
_ANTHROPIC_VERSION = "bedrock-2023-05-31"
_MESSAGE_LIMIT = 300
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    424: "api_error",  # Bedrock's ModelErrorException: the model itself failed
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def input_lines(requests: Sequence[Request]) -> bytes:
    """The input file: one record per request, in order; the same requests always give the same bytes.

    The model is left out, since a job has one model for all its records. JSON is kept to ASCII: then no character
    of a document can be taken for a line end.
    """
    return b"".join(
        json.dumps(
            {
                "recordId": request["custom_id"],
                "modelInput": {"anthropic_version": _ANTHROPIC_VERSION}
                | {name: value for name, value in request["params"].items() if name != "model"},
            },
            separators=(",", ":"),
        ).encode("ascii")
        + b"\n"
        for request in requests
    )


def record_ids(lines: Iterable[bytes]) -> Iterator[str]:
    """Ids of the records of an input or output file.

    Raises:
        ValueError: a line is not a record.
    """
    return (_record_id(record) for record in _records(lines))


def item_results(lines: Iterable[bytes]) -> Iterator[ItemResult]:
    """What an output file says of each record, in the file's order, which is not that of the input.

    Raises:
        ValueError: a line is not a record.
    """
    return (_item_result(record) for record in _records(lines))


def errored(custom_id: str, error_type: str, message: str) -> ItemResult:
    """A record that failed; ``error_type`` is one of the Messages API's, whoever reported the failure."""
    return ItemResult(custom_id, "errored", error_type=error_type, error_message=one_line(message))


def one_line(message: str) -> str:
    """AWS's messages can be long lists of complaints, with line ends; a reason is one line."""
    line = " ".join(message.split())
    return line if len(line) <= _MESSAGE_LIMIT else f"{line[:_MESSAGE_LIMIT]}…"


def _records(lines: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("a line is not a JSON object")
        yield record


def _record_id(record: Mapping[str, Any]) -> str:
    record_id = record.get("recordId")
    if not isinstance(record_id, str):
        raise ValueError("a line has no recordId")
    return record_id


def _item_result(record: Mapping[str, Any]) -> ItemResult:
    custom_id = _record_id(record)
    message = record.get("modelOutput")
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return _error(custom_id, record, message)
    # Thinking models put thinking blocks first: blocks are picked by type, never by position.
    text = "".join(block["text"] for block in message["content"] if block.get("type") == "text")
    return ItemResult(
        custom_id,
        "succeeded",
        text=text,
        stop_reason=message.get("stop_reason"),
        model=message.get("model"),
        usage=_usage(message.get("usage")),
    )


def _error(custom_id: str, record: Mapping[str, Any], message: object) -> ItemResult:
    error = record.get("error")
    if isinstance(error, dict):
        return errored(custom_id, _error_type(error.get("errorCode")), str(error.get("errorMessage")))
    inner = message.get("error") if isinstance(message, dict) else None  # the Messages API's own error shape
    if isinstance(inner, dict):
        return errored(custom_id, str(inner.get("type")), str(inner.get("message")))
    return errored(custom_id, "api_error", "Bedrock's output line holds neither an answer nor an error")


def _error_type(code: object) -> str:
    """Bedrock reports an HTTP status; what becomes of an item is decided by the Messages API's error types."""
    status = int(code) if isinstance(code, int | str) and str(code).isdigit() else 0
    return _ERROR_TYPES.get(status, "api_error" if status >= 500 else "unknown_error")


def _usage(usage: Any) -> TokenUsage | None:
    """None where Bedrock left it out: an unknown cost, not a cost of nothing."""
    if not isinstance(usage, dict) or "input_tokens" not in usage or "output_tokens" not in usage:
        return None
    written = usage.get("cache_creation_input_tokens") or 0
    details = usage.get("cache_creation") or {"ephemeral_5m_input_tokens": written}
    return TokenUsage(
        input=usage["input_tokens"],
        cache_write_5m=details.get("ephemeral_5m_input_tokens", 0),
        cache_write_1h=details.get("ephemeral_1h_input_tokens", 0),
        cache_read=usage.get("cache_read_input_tokens") or 0,
        output=usage["output_tokens"],
    )
