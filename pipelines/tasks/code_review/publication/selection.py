"""The one place where findings are filtered. Everything before it keeps and stores them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pipelines.routes import Route
from pipelines.tasks.code_review.categories import SEVERITIES
from pipelines.tasks.code_review.findings import FindingRow, by_place

WithheldReason = Literal["below the threshold", "not verified", "reported by a later item too"]


@dataclass(frozen=True)
class Selection:
    """``published``: worst first, then by place. ``withheld``: how many were kept back, and why."""

    published: tuple[FindingRow, ...]
    withheld: Counter[WithheldReason]


def select(rows: Iterable[FindingRow], threshold: float) -> Selection:
    """What is reported of one repository's findings.

    A finding counts with its confidence, or with its raw probability where no calibration is known. Claude's verified
    lists are taken as they are. Where two items of a repository report the same finding (two commits over the same
    lines), the later item's stands, since its line numbers are newer, with the worse severity of the two.

    Args:
        rows: in the order of the plan.
        threshold: least confidence of what is reported.
    """
    withheld: Counter[WithheldReason] = Counter()
    published: dict[tuple[str, str], FindingRow] = {}
    for row in rows:
        reason = _why_withheld(row, threshold)
        if reason is not None:
            withheld[reason] += 1
            continue
        # Without a repository, equal paths of two documents need not be the same file.
        name = (row.repository or row.item_id, row.fingerprint)
        earlier = published.get(name)
        if earlier is not None:
            withheld["reported by a later item too"] += 1
        published[name] = row if earlier is None else _with_the_worse_severity(row, earlier)
    return Selection(tuple(sorted(published.values(), key=_worst_first)), withheld)


def _why_withheld(row: FindingRow, threshold: float) -> WithheldReason | None:
    if row.route == Route.ESCALATED:
        return None
    probability = row.confidence if row.confidence is not None else row.raw_prob
    if probability is None:
        return "not verified"
    return None if probability >= threshold else "below the threshold"


def _with_the_worse_severity(later: FindingRow, earlier: FindingRow) -> FindingRow:
    worse = min(later.finding.severity, earlier.finding.severity, key=SEVERITIES.index)
    return replace(later, finding=replace(later.finding, severity=worse))


def _worst_first(row: FindingRow) -> tuple[int, tuple[str, int, int, str, str]]:
    return SEVERITIES.index(row.finding.severity), by_place(row.finding)
