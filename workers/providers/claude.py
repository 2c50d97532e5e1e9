"""The Message Batches API through the anthropic SDK. The only importer of anthropic.

Any client with `.messages.batches` will do. The SDK never retries by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any

import anthropic
import httpx2

from pipelines.costs.price_book import TokenUsage
from pipelines.errors import ProviderError
from pipelines.escalation.endings import is_account_message
from pipelines.escalation.provider import (
    AccountError,
    BatchStatus,
    ItemResult,
    OutcomeUnknownError,
    RefusedError,
    Request,
    TooLargeError,
    UnavailableError,
)

_CREATE_TIMEOUT_SECONDS = 600.0
# Reads of a batch created a moment ago can lag (anthropics/anthropic-sdk-python#1432).
_READ_LAG_SECONDS = 120.0
_REFUSED_STATUS = {400, 404, 422, 429}
_ACCOUNT_STATUS = {401, 402, 403}
_LOAD_STATUS = {408, 409, 429, 500, 502, 503, 504, 529}
# What the SDK lets through while it reads results: its own errors, its transport's, broken JSON lines.
_READ_ERRORS = (anthropic.AnthropicError, httpx2.HTTPError, ValueError)
_GOOGLE_CLOUD = "escalation.provider: `google_cloud`"

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
        self.price_provider = "anthropic"
        self.minimum_requests = 1
        self._client = client
        self.settle_seconds = settle_seconds
        self._batches = client.messages.batches

    def check(self, request: Request) -> None:
        """See `BatchProvider.check`: the model's own entry, and a free count of the request's tokens.

        The API checks what is inside a batch only while processing it; a mistake would come back as thousands of
        errored rows, an hour later. A paid trial request would find a little more, and cost money that no row shows.
        """
        params = request["params"]
        counted = ("model", "system", "messages", "output_config", "thinking")
        try:
            model = self._client.models.retrieve(params["model"])
            self._client.messages.count_tokens(**{name: params[name] for name in counted if name in params})
        except anthropic.ContentTooLargeError:
            return  # one document's fault, not the model's: what becomes of it is decided when its batch is sent
        except anthropic.APIStatusError as error:
            raise _refusal(error, f"the provider would not take a request to '{params['model']}'") from error
        except _READ_ERRORS as error:
            raise UnavailableError(f"the provider cannot be reached: {_describe(error)}") from error
        if model.max_tokens and params["max_tokens"] > model.max_tokens:
            raise RefusedError(
                f"escalation.max_output_tokens is {params['max_tokens']}, more than the {model.max_tokens} that "
                f"'{params['model']}' gives; lower it and start a new run"
            )

    def create(self, requests: Sequence[Request], token: str) -> str:
        """See `BatchProvider.create`; the API has no use for a token."""
        try:
            return str(self._batches.create(requests=requests, timeout=_CREATE_TIMEOUT_SECONDS).id)
        except anthropic.APIStatusError as error:
            if error.status_code in _REFUSED_STATUS | _ACCOUNT_STATUS | {413}:
                raise _refusal(error, "the provider refused a message batch") from error
            raise OutcomeUnknownError(_describe(error)) from error
        except _READ_ERRORS as error:
            raise OutcomeUnknownError(type(error).__name__) from error

    def retrieve(self, batch_id: str) -> BatchStatus:
        """See `BatchProvider.retrieve`."""
        try:
            return _status(self._batches.retrieve(batch_id))
        except _READ_ERRORS as error:
            raise _read_failure(error, f"cannot ask about message batch {batch_id}") from error

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        """See `BatchProvider.list_since`; the API lists newest first."""
        found = []
        try:
            for batch in self._batches.list(limit=100):
                if batch.created_at < created_after:
                    break
                found.append(_status(batch))
        except _READ_ERRORS as error:
            raise _read_failure(error, "cannot list message batches") from error
        return found

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        """See `BatchProvider.results`."""
        try:
            for row in self._batches.results(batch_id):
                yield _item_result(row)
        except _READ_ERRORS as error:
            raise _read_failure(error, f"cannot read the results of message batch {batch_id}") from error

    def cancel(self, batch_id: str) -> None:
        """See `BatchProvider.cancel`; one that has ended meanwhile is fine."""
        try:
            self._batches.cancel(batch_id)
        except anthropic.BadRequestError:
            return
        except _READ_ERRORS as error:
            raise _read_failure(error, f"cannot cancel message batch {batch_id}") from error

    def delete(self, batch_id: str) -> None:
        """See `BatchProvider.delete`; one that is gone already is fine."""
        try:
            self._batches.delete(batch_id)
        except anthropic.NotFoundError:
            return
        except _READ_ERRORS as error:
            raise _read_failure(error, f"cannot delete message batch {batch_id}") from error


def connect(api_key: str, base_url: str | None) -> anthropic.Anthropic:
    """A client with explicit credentials: nothing is looked up in the environment or on disk."""
    # No retries inside the SDK: it obeys a Retry-After of hours, deaf to Ctrl-C; `PatientProvider` waits instead.
    return anthropic.Anthropic(api_key=api_key, base_url=base_url or "https://api.anthropic.com", max_retries=0)


def connect_aws() -> anthropic.AnthropicAWS:
    """Claude Platform on AWS: region, workspace and credentials by the SDK's and AWS's usual chain.

    Raises:
        ProviderError: one of them is not to be found.
    """
    try:
        return anthropic.AnthropicAWS(max_retries=0)
    except (anthropic.AnthropicError, ValueError) as error:
        raise ProviderError(f"escalation.provider: `aws` is not set up where the flow runs: {error}") from error


def connect_google_cloud() -> anthropic.AnthropicGoogleCloud:
    """Claude through Google Cloud: project, location and credentials by the SDK's usual chain.

    Raises:
        ProviderError: one of them is not to be found, or the package that gets Google's tokens is not installed.
    """
    if find_spec("google") is None or find_spec("google.auth") is None:
        raise ProviderError(f"{_GOOGLE_CLOUD} needs one package more: pip install google-auth[requests]")
    try:
        return anthropic.AnthropicGoogleCloud(max_retries=0)
    except (anthropic.AnthropicError, ValueError) as error:
        raise ProviderError(f"{_GOOGLE_CLOUD} is not set up where the flow runs: {error}") from error


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
        return ItemResult(row.custom_id, "errored", error_type=error.type, error_message=error.message)
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


def _read_failure(error: Exception, what: str) -> ProviderError:
    """A read can be made again, unless it is the account that is refused."""
    if isinstance(error, anthropic.APIStatusError) and error.status_code in _ACCOUNT_STATUS:
        return _refusal(error, what)
    return UnavailableError(f"{what}: {_describe(error)}")


def _refusal(error: anthropic.APIStatusError, what: str) -> ProviderError:
    """Told apart by what must happen next: mend the account, cut the batch, or mend the request."""
    words = _describe(error)
    if error.status_code in _ACCOUNT_STATUS or _is_spend_limit(error):
        return AccountError(f"{what}, for the account's sake: {words}. Mend that, then run the same command again")
    if error.status_code == 413:
        return TooLargeError(f"{what}: {words}")
    if error.status_code in _LOAD_STATUS:
        return UnavailableError(f"{what}: {words}")
    return RefusedError(f"{what}: {words}")


def _is_spend_limit(error: anthropic.APIStatusError) -> bool:
    """A spend limit comes as 400 or 429; a plain rate limit, which is 429 too, passes by itself."""
    code = getattr(error, "error_code", None) or ""
    return code.endswith(("spend_limit_reached", "limit_exceeded")) or is_account_message(_describe(error))


def _describe(error: Exception) -> str:
    """Status, type and the API's own message; a 413 comes as HTML from the edge, of which only the status is kept."""
    if not isinstance(error, anthropic.APIStatusError):
        return type(error).__name__
    words = getattr(error, "api_message", None) if isinstance(error.body, dict) else None
    parts = (error.status_code, getattr(error, "type", None), words)
    return " ".join(str(part) for part in parts if part).rstrip(".")
