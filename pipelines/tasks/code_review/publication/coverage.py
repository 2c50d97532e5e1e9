"""Whether everything was looked at: only then may findings be published.

A code host closes every alert that a new upload does not repeat. Published after half a run, SARIF would say of the
other half that its faults are mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Coverage:
    """What became of the items of a run, or of one repository in it.

    ``reviewed_items`` are those with a review that could be read, whoever gave it; ``unreviewed`` counts the rows of
    the others by route. ``left_out`` counts files left out by rule, by reason: they are listed and are no gap.
    """

    planned_items: int
    reviewed_items: int
    unreviewed: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def gap(self) -> str | None:
        """Why nothing may be published, with the next move; None where coverage is complete."""
        if not self.planned_items:
            return "nothing was reviewed: the input holds no item. No SARIF is written; check the input's path"
        missing = self.planned_items - self.reviewed_items
        if not missing:
            return None
        reasons = [f"{count:,} {route}" for route, count in sorted(self.unreviewed.items()) if count]
        unfinished = missing - sum(self.unreviewed.values())
        if unfinished:
            reasons.append(f"{unfinished:,} without a row yet")
        return (
            f"{missing:,} of {self.planned_items:,} items have no review ({', '.join(reasons)}). No SARIF is written: "
            "a code host would take the faults of what was not reviewed for mended. Resume the run if it is "
            "unfinished; otherwise mend these items or leave them out (their rows say why), and submit again"
        )
