"""Where each item's answer came from, and why a run ended before every doubtful item was answered."""

from enum import StrEnum


class Route(StrEnum):
    """Of a result row: exactly one for each item."""

    ACCEPTED = "accepted"  # the engine's answer stands
    ESCALATED = "escalated"  # Claude's does
    REVIEW = "review"  # a person decides
    WITHHELD = "withheld"  # the same, because the policy lets nobody else see it
    FAILED = "failed"  # it could not be read


class Stop(StrEnum):
    """Why escalation ended before every doubtful item was answered. An outcome, not an error."""

    BUDGET = "budget"
    CANCELLED = "cancelled"  # as the journal has it
    TOO_FEW = "too_few"
