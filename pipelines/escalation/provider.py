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


class TooLargeError(RefusedError):
    """The batch is larger than the provider takes; in two halves it may pass."""


class AccountError(RefusedError):
    """The account may not spend now: key, permission, credit, spend limit. Escalation pauses; nothing is lost."""


class UnavailableError(ProviderError):
    """A call that may simply be made again did not work this time: a read, or a create refused for load."""


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
    """One result row. ``text`` and ``usage`` belong to succeeded rows, ``error_…`` to errored ones."""

    custom_id: str
    kind: Literal["succeeded", "errored", "canceled", "expired"]
    text: str | None = None
    stop_reason: str | None = None
    model: str | None = None
    usage: TokenUsage | None = None
    error_type: str | None = None
    error_message: str | None = None


class BatchProvider(Protocol):
    """The Message Batches API, as far as escalation uses it. Every method may raise `ProviderError`."""

    name: str
    price_provider: str  # whose rows of the price book hold
    # How long after its create call began a batch may still be missing from the list: the call's own time limit
    # plus the provider's read lag. Only after that does "not listed" mean "does not exist".
    settle_seconds: float
    minimum_requests: int  # a batch of fewer is not taken

    def check(self, request: Request) -> None:
        """Find out, without spending, whether the provider would take this request.

        Raises:
            RefusedError: it would not; the reason is in the message.
        """

    def create(self, requests: Sequence[Request], token: str) -> str:
        """Send a batch once, without retries; its id. ``token`` names this attempt, for providers that can use it.

        Raises:
            RefusedError: it was not taken.
            OutcomeUnknownError: nobody can tell yet.
        """

    def retrieve(self, batch_id: str) -> BatchStatus:
        """Look up the state of one batch."""

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        """Every batch created after the given time."""

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        """Rows of an ended batch, in any order."""

    def cancel(self, batch_id: str) -> None:
        """Ask for an early end; what is finished by then has results."""

    def delete(self, batch_id: str) -> None:
        """Remove an ended batch's results from the provider."""
