"""Requests for labels, sent to the local message batches service, and what came back."""

from typing import Any

from anthropic.types.messages import MessageBatch

from tests.infra.message_batches_server import Server

LABELS = ["billing", "outage", "other"]
TEXTS = [f"ticket number {i}" for i in range(40)]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "confidence"],
    "properties": {"label": {"type": "string", "enum": LABELS}, "confidence": {"type": "number"}},
}
HEADERS = {"x-api-key": "key", "anthropic-version": "2026-10-21"}


def params(text: str = TEXTS[0], **changes: Any) -> Any:
    """The params of one label request; a change to None takes a field away."""
    whole = {
        "model": "claude-haiku-5-5",
        "max_tokens": 400,
        "system": "Choose a label.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def create(server: Server, count: int = 4, prefix: str = "item", **changes: Any) -> MessageBatch:
    requests: Any = [{"custom_id": f"{prefix}-{i}", "params": params(TEXTS[i], **changes)} for i in range(count)]
    return server.client.messages.batches.create(requests=requests)


def rows(server: Server, batch_id: str) -> dict[str, Any]:
    """The results by custom_id, as plain dicts."""
    server.ended(batch_id)
    return {row.custom_id: row.result.to_dict() for row in server.client.messages.batches.results(batch_id)}


def outcome_of(server: Server, request_params: dict[str, Any]) -> dict[str, Any]:
    """The one row of a batch of one."""
    requests: Any = [{"custom_id": "only", "params": request_params}]
    row: dict[str, Any] = rows(server, server.client.messages.batches.create(requests=requests).id)["only"]
    return row


def text_of(result: dict[str, Any]) -> str:
    return "".join(block["text"] for block in result["message"]["content"] if block["type"] == "text")
