"""Whether everything was looked at, and what a reader of the findings must be told if not.

A code host closes every alert that a new upload does not repeat. Published after half a run, SARIF would say of the
other half that its faults are mended. Of a run that has ended, SARIF says itself what is missing from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Coverage:
    """What became of the items of a run, or of one repository in it.

    ``reviewed_items`` are those with a review that could be read, whoever gave it; ``unreviewed`` counts the rows of
    the others by route. Of ``unfinished_items``, which are among the reviewed, the answer did not come to its end: they
    have the findings that it held. ``missing`` says of the first items of both kinds why. ``left_out`` counts files
    left out by rule, by reason: they are listed and are no gap.
    """

    planned_items: int
    reviewed_items: int
    unreviewed: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    unfinished_items: int = 0
    missing: Sequence[str] = ()

    def refusal(self) -> str | None:
        """Why nothing may be published, with the next move; None where something may."""
        if not self.planned_items:
            return "nothing was reviewed: the input holds no item. No SARIF is written; check the input's path"
        unfinished = self._without_review - sum(self.unreviewed.values())
        if self.reviewed_items and not unfinished:
            return None
        next_move = (
            "Resume the run"
            if unfinished
            else "Mend these items or leave them out (their rows say why), and submit again"
        )
        return (
            f"{self._told_without_review()}. No SARIF is written: a code host would take the faults of what was not "
            f"reviewed for mended. {next_move}"
        )

    def gap(self) -> str | None:
        """What is missing from what is published, with the next move; None where coverage is complete."""
        if refusal := self.refusal():
            return refusal
        parts = []
        if self._without_review:
            parts.append(self._told_without_review())
        if self.unfinished_items:
            parts.append(
                f"{self.unfinished_items:,} of {self.planned_items:,} items have only the first findings of an answer "
                "that was cut at the output limit"
            )
        if not parts:
            return None
        return (
            f"{'; '.join(parts)}. The SARIF says so (executionSuccessful is false), but a code host may take the "
            "faults of what was not reviewed for mended: mend these items or leave them out (their rows say why), and "
            "submit again"
        )

    @property
    def told_missing(self) -> list[str]:
        """A line for each item without a whole review, as far as they are listed; then how many more there are."""
        more = self._without_review + self.unfinished_items - len(self.missing)
        return [*self.missing, *([f"and {more:,} more items"] if more > 0 and self.missing else [])]

    @property
    def _without_review(self) -> int:
        return self.planned_items - self.reviewed_items

    def _told_without_review(self) -> str:
        reasons = [f"{count:,} {route}" for route, count in sorted(self.unreviewed.items()) if count]
        if unfinished := self._without_review - sum(self.unreviewed.values()):
            reasons.append(f"{unfinished:,} without a row yet")
        return f"{self._without_review:,} of {self.planned_items:,} items have no review ({', '.join(reasons)})"
