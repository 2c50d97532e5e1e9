"""What becomes of an item, for every way its request can end. The one place where that is written down.

| how the request ended | what becomes of the item |
|---|---|
| a label of the job, in any case; of a code review a list of findings | answered |
| refusal | next tier at once: the same model would do the same again; without one, review |
| cut off at max_tokens | next tier at once; without one, review, with the findings that the answer held whole |
| not JSON, or neither of these | again on this tier; then next tier; then review |
| errored: api, overloaded, timeout, rate limit | again on this tier; then next tier; then review |
| expired after 24 h, canceled by somebody else, row missing | again on this tier; then next tier; then review |
| errored: credit, spend limit, key, permission | nothing is decided: escalation pauses, the item stays open |
| errored: the request itself is refused | next tier; without one, review |
| its batch was refused as too large | in a batch of half the size; alone and still too large: next tier, then review |
| its batch was begun and not sent when the run was closed | nothing was asked: as any item that was never sent |

"Again" is bounded by `ATTEMPTS_PER_TIER`. Reasons never quote document or answer text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipelines.escalation.provider import ItemResult
from pipelines.tasks.classification import parse_label

ATTEMPTS_PER_TIER = 3

_PROVIDER_ERRORS = {"api_error", "overloaded_error", "timeout_error", "rate_limit_error", "conflict_error"}
_ACCOUNT_ERRORS = {"billing_error", "authentication_error", "permission_error"}
# Credit and spend limits arrive as invalid_request_error rows (bespokelabsai/curator#296); only the words tell.
_ACCOUNT_WORDS = ("credit balance", "usage limits", "spend limit", "organization is on hold")


class Ending(StrEnum):
    """What a request's end means for its item."""

    ANSWERED = "answered"
    AGAIN = "again"
    NEXT_TIER = "next_tier"
    ACCOUNT = "account"
    SMALLER_BATCH = "smaller_batch"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that can be used. Of a code review the label is the verdict; ``findings`` are rows of `COLLECTED`'s.

    One that ``is_cut`` has no verdict, only the findings that it held whole.
    """

    label: str | None
    findings: tuple[dict[str, Any], ...] | None = None
    dropped_findings: int | None = None
    is_cut: bool = False


# The text of an answer to what it gives, or to the reason why it cannot be used.
ReadAnswer = Callable[[str | None], Given | str]


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """An ending, with what was given or the reason why nothing was."""

    ending: Ending
    given: Given | None = None
    reason: str | None = None

    @property
    def label(self) -> str | None:
        """The label, where there is one."""
        return self.given.label if self.given else None


IN_A_SMALLER_BATCH = RowVerdict(Ending.SMALLER_BATCH, reason="its batch was too large for the provider")
TOO_LARGE_ALONE = RowVerdict(Ending.NEXT_TIER, reason="the provider refused the request as too large (413)")
NOT_SENT = RowVerdict(Ending.NOT_SENT, reason="the run was closed before it was sent")
MISSING = RowVerdict(Ending.AGAIN, reason="the provider gave no row for it")


def judge(result: ItemResult, read: ReadAnswer) -> RowVerdict:
    """Apply the table above to one result row."""
    if result.kind == "errored":
        return _judge_error(result.error_type or "unknown_error", result.error_message or "")
    if result.kind != "succeeded":
        how = "expired" if result.kind == "expired" else "was canceled"
        return RowVerdict(Ending.AGAIN, reason=f"the request {how} before Claude answered")
    if result.stop_reason == "refusal":
        return RowVerdict(Ending.NEXT_TIER, reason="Claude refused to answer")
    given = read(result.text)
    if result.stop_reason == "max_tokens":
        return _judge_cut(given)
    if isinstance(given, Given) and given.is_cut:
        return RowVerdict(Ending.AGAIN, reason="Claude's answer ends in the middle")
    if isinstance(given, str):
        return RowVerdict(Ending.AGAIN, reason=given)
    return RowVerdict(Ending.ANSWERED, given)


def label_reader(labels: Sequence[str]) -> ReadAnswer:
    """Reads answers that are one of the job's labels."""

    def read(text: str | None) -> Given | str:
        label = read_label(text, labels)
        return "Claude's answer is none of the job's labels" if label is None else Given(label)

    return read


def read_label(text: str | None, labels: Sequence[str]) -> str | None:
    """The label in an answer's JSON, or None."""
    try:
        answer = json.loads(text or "")
    except (ValueError, RecursionError):  # beyond bad JSON: numbers and nesting without end
        return None
    return parse_label(answer, labels) if isinstance(answer, dict) else None


def is_account_message(message: str) -> bool:
    """Whether an error speaks of the account rather than of the request."""
    return any(words in message.lower() for words in _ACCOUNT_WORDS)


def _judge_cut(given: Given | str) -> RowVerdict:
    if isinstance(given, str) or not given.is_cut:
        return RowVerdict(Ending.NEXT_TIER, reason="Claude's answer was cut off; raise escalation.max_output_tokens")
    count = len(given.findings or ())
    reason = f"Claude's answer was cut off, its whole findings ({count}) are kept; raise escalation.max_output_tokens"
    return RowVerdict(Ending.NEXT_TIER, given, reason)


def _judge_error(kind: str, message: str) -> RowVerdict:
    if kind in _ACCOUNT_ERRORS or is_account_message(message):
        return RowVerdict(Ending.ACCOUNT, reason=f"{kind}: {message}")
    if kind in _PROVIDER_ERRORS:
        return RowVerdict(Ending.AGAIN, reason=f"the provider failed ({kind})")
    return RowVerdict(Ending.NEXT_TIER, reason=f"the provider refused the request ({kind})")
