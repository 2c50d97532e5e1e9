"""The Message Batches API through the anthropic SDK. The only importer of anthropic.

Any client with `.messages.batches` will do. SDK retries are off for creating (not idempotent) and on for reading.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import anthropic
import httpx2

from pipelines.costs.price_book import TokenUsage
from pipelines.errors import ProviderError
from pipelines.escalation.provider import (
    BatchStatus,
    ItemResult,
    OutcomeUnknownError,
    RefusedError,
    Request,
)

_CREATE_TIMEOUT_SECONDS = 600.0
# Reads of a batch created a moment ago can lag (anthropics/anthropic-sdk-python#1432).
_READ_LAG_SECONDS = 120.0
_REFUSED_STATUS = {400, 401, 402, 403, 404, 413, 422, 429}
# What the SDK lets through while it reads results: its own errors, its transport's, broken JSON lines.
_READ_ERRORS = (anthropic.AnthropicError, httpx2.HTTPError, ValueError)

log = logging.getLogger(__name__)


class ClaudeBatches:
    """`BatchProvider` over an anthropic client."""

    def __init__(self, client: Any, name: str, settle_seconds: float = _CREATE_TIMEOUT_SECONDS + _READ_LAG_SECONDS):
        """Wrap a client.

        Args:
            client: `anthropic.Anthropic` or any other with `.messages.batches`.
            name: shown to people: `anthropic`, or `simulation`.
            settle_seconds: see `BatchProvider`.
        """
        self.name = name
        self.settle_seconds = settle_seconds
        self._batches = client.messages.batches
        self._batches_once = client.with_options(max_retries=0, timeout=_CREATE_TIMEOUT_SECONDS).messages.batches

    def create(self, requests: Sequence[Request]) -> str:
        """See `BatchProvider.create`."""
        try:
            return str(self._batches_once.create(requests=requests).id)
        except anthropic.APIStatusError as error:
            if error.status_code in _REFUSED_STATUS:
                raise RefusedError(f"the provider refused a message batch: {_describe(error)}") from error
            raise OutcomeUnknownError(_describe(error)) from error
        except _READ_ERRORS as error:
            raise OutcomeUnknownError(type(error).__name__) from error

    def retrieve(self, batch_id: str) -> BatchStatus:
        """See `BatchProvider.retrieve`."""
        try:
            return _status(self._batches.retrieve(batch_id))
        except _READ_ERRORS as error:
            raise ProviderError(f"cannot ask about message batch {batch_id}: {_describe(error)}") from error

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        """See `BatchProvider.list_since`; the API lists newest first."""
        found = []
        try:
            for batch in self._batches.list(limit=100):
                if batch.created_at < created_after:
                    break
                found.append(_status(batch))
        except _READ_ERRORS as error:
            raise ProviderError(f"cannot list message batches: {_describe(error)}") from error
        return found

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        """See `BatchProvider.results`."""
        try:
            for row in self._batches.results(batch_id):
                yield _item_result(row)
        except _READ_ERRORS as error:
            raise ProviderError(f"cannot read the results of message batch {batch_id}: {_describe(error)}") from error


def connect(api_key: str, base_url: str | None) -> anthropic.Anthropic:
    """A client with explicit credentials: nothing is looked up in the environment or on disk."""
    return anthropic.Anthropic(api_key=api_key, base_url=base_url or "https://api.anthropic.com")


def _status(batch: Any) -> BatchStatus:
    counts = batch.request_counts
    finished = counts.succeeded + counts.errored + counts.canceled + counts.expired
    return BatchStatus(
        batch_id=batch.id,
        created_at=batch.created_at,
        is_ended=batch.processing_status == "ended",
        requests=finished + counts.processing,
        finished_requests=finished,
    )


def _item_result(row: Any) -> ItemResult:
    result = row.result
    if result.type == "errored":
        error = result.error.error  # nested twice on the wire
        return ItemResult(row.custom_id, "errored", error=f"{error.type}: {error.message}")
    if result.type != "succeeded":
        return ItemResult(row.custom_id, result.type)
    message = result.message
    # Thinking models put thinking blocks first: blocks are picked by type, never by position.
    text = "".join(block.text for block in message.content if block.type == "text")
    return ItemResult(
        row.custom_id,
        "succeeded",
        text=text,
        stop_reason=message.stop_reason,
        model=message.model,
        usage=_usage(message.usage),
    )


def _usage(usage: Any) -> TokenUsage:
    details = usage.cache_creation
    written = usage.cache_creation_input_tokens or 0
    return TokenUsage(
        input=usage.input_tokens,
        cache_write_5m=details.ephemeral_5m_input_tokens if details else written,
        cache_write_1h=details.ephemeral_1h_input_tokens if details else 0,
        cache_read=usage.cache_read_input_tokens or 0,
        output=usage.output_tokens,
        is_us_inference=usage.inference_geo == "us",
    )


def _describe(error: Exception) -> str:
    """Status, type and the API's own message; a 413 comes as HTML from the edge, of which only the status is kept."""
    if not isinstance(error, anthropic.APIStatusError):
        return type(error).__name__
    words = getattr(error, "api_message", None) if isinstance(error.body, dict) else None
    return " ".join(str(part) for part in (error.status_code, getattr(error, "type", None), words) if part)
