"""Waiting for a provider that does not answer just now.

The one place where calls are repeated. Creating a batch is repeated only when it was refused for sure, for load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, stop_before_delay, wait_random_exponential

from pipelines.escalation.provider import BatchProvider, BatchStatus, ItemResult, Request, UnavailableError

# An hour of silence is an outage: the run stops with what it has, and the same command goes on later.
PATIENCE_SECONDS = 3_600.0
_LONGEST_WAIT_SECONDS = 60.0
# A create repeated for longer would outlive its intent: another process would declare it void, and send it too.
_WAITS_FOR_CREATE = 10


class PatientProvider:
    """`BatchProvider` that asks again while the provider is unavailable."""

    def __init__(self, provider: BatchProvider, sleep: Callable[[float], None], longest_wait_seconds: float) -> None:
        self._provider = provider
        self.name = provider.name
        self.price_provider = provider.price_provider
        self.minimum_requests = provider.minimum_requests
        longest_wait = min(longest_wait_seconds, _LONGEST_WAIT_SECONDS)
        create_seconds = _WAITS_FOR_CREATE * longest_wait
        self.settle_seconds = provider.settle_seconds + create_seconds
        self._retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=wait_random_exponential(multiplier=0.5, max=longest_wait),
            stop=stop_after_delay(PATIENCE_SECONDS),
            sleep=sleep,
            reraise=True,
        )
        self._retrying_create = self._retrying.copy(stop=stop_before_delay(create_seconds))

    def check(self, request: Request) -> None:
        """See `BatchProvider.check`."""
        self._retrying.copy()(self._provider.check, request)

    def create(self, requests: Sequence[Request], token: str) -> str:
        """See `BatchProvider.create`."""
        return self._retrying_create.copy()(self._provider.create, requests, token)

    def retrieve(self, batch_id: str) -> BatchStatus:
        """See `BatchProvider.retrieve`."""
        return self._retrying.copy()(self._provider.retrieve, batch_id)

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        """See `BatchProvider.list_since`."""
        return self._retrying.copy()(self._provider.list_since, created_after)

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        """See `BatchProvider.results`; read whole, so that a broken-off reading begins again."""
        rows: list[ItemResult] = self._retrying.copy()(lambda: list(self._provider.results(batch_id)))
        return iter(rows)

    def cancel(self, batch_id: str) -> None:
        """See `BatchProvider.cancel`."""
        self._retrying.copy()(self._provider.cancel, batch_id)

    def delete(self, batch_id: str) -> None:
        """See `BatchProvider.delete`."""
        self._retrying.copy()(self._provider.delete, batch_id)
