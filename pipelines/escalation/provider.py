"""What escalation needs of a Message Batches provider, and how its failures are told apart.

The one distinction that money hangs on: was a refused create refused for sure, or is its outcome unknown?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from pipelines.costs.price_book import TokenUsage
from pipelines.errors import ProviderError

Request = dict[str, Any]


class RefusedError(ProviderError):
    """The provider did not take the batch, for sure: nothing runs, nothing is billed."""


class OutcomeUnknownError(ProviderError):
    """The create call broke off: the batch may or may not exist. It must not be sent again before reconciling."""


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """A message batch as the provider lists it."""

    batch_id: str
    created_at: datetime
    is_ended: bool
    requests: int
    finished_requests: int


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One result row. ``text`` and ``usage`` belong to succeeded rows, ``error`` to errored ones."""

    custom_id: str
    kind: Literal["succeeded", "errored", "canceled", "expired"]
    text: str | None = None
    stop_reason: str | None = None
    model: str | None = None
    usage: TokenUsage | None = None
    error: str | None = None


class BatchProvider(Protocol):
    """The Message Batches API, as far as escalation uses it. Every method may raise `ProviderError`."""

    name: str
    # How long after its create call began a batch may still be missing from the list: the call's own time limit
    # plus the provider's read lag. Only after that does "not listed" mean "does not exist".
    settle_seconds: float

    def create(self, requests: Sequence[Request]) -> str:
        """Send a batch once, without retries; its id.

        Raises:
            RefusedError: it was not taken.
            OutcomeUnknownError: nobody can tell yet.
        """

    def retrieve(self, batch_id: str) -> BatchStatus:
        """State of one batch."""

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        """Every batch created after the given time."""

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        """Rows of an ended batch, in any order."""
