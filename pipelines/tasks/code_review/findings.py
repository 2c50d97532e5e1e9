"""Findings: one fault at one place, and how those of several pieces of one item become one list."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from pipelines.tasks.code_review.categories import SEVERITIES, Severity


class ReviewedLines(Protocol):
    """The lines of the new files that were shown: what a finding may speak of."""

    @property
    def paths(self) -> Collection[str]:
        """Paths of the files that the reviewer was shown."""
        ...

    def contains(self, path: str, line: int) -> bool:
        """Whether this line (1-based) was shown."""
        ...

    def text_at(self, path: str, line: int) -> str | None:
        """The line without its line end; None if it was not shown."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault; ``path`` and the lines (1-based, both included) are those of the new file."""

    path: str
    line: int
    end_line: int
    severity: Severity
    category: str
    message: str
    suggestion: str | None


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding with what the run knows of it: one row of findings.arrow.

    ``repository`` is what paths are relative to; None where the input does not say. ``end_column`` is the column after
    the last character of ``end_line``, None where the line's text is not known. ``raw_prob`` is the probability that
    the verification pass gave the finding, ``confidence`` the same calibrated, or None. ``route`` is the item's: the
    findings of an ``escalated`` item are Claude's verified list.
    """

    item_id: str
    document_id: str
    repository: str | None
    finding: Finding
    end_column: int | None
    fingerprint: str
    raw_prob: float | None
    confidence: float | None
    route: str


def merge_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One list out of what the pieces of an item reported, sorted by place.

    Pieces overlap and a model repeats itself: findings of one category whose lines overlap are one fault. The most
    severe stands, of equals the one that names the fewest lines; a suggestion is kept if any of them has one.
    """
    merged: list[Finding] = []
    for finding in sorted(findings, key=_by_category_and_place):
        if merged and _is_same_fault(merged[-1], finding):
            merged[-1] = _stronger(merged[-1], finding)
        else:
            merged.append(finding)
    return tuple(sorted(merged, key=by_place))


def by_place(finding: Finding) -> tuple[str, int, int, str, str]:
    """Key that sorts findings by path, then by lines."""
    return finding.path, finding.line, finding.end_line, finding.category, finding.message


def _by_category_and_place(finding: Finding) -> tuple[str, str, int, int, str]:
    return finding.path, finding.category, finding.line, finding.end_line, finding.message


def _is_same_fault(first: Finding, second: Finding) -> bool:
    is_same_kind = (first.path, first.category) == (second.path, second.category)
    return is_same_kind and second.line <= first.end_line and first.line <= second.end_line


def _stronger(first: Finding, second: Finding) -> Finding:
    def weight(finding: Finding) -> tuple[int, int]:
        return SEVERITIES.index(finding.severity), finding.end_line - finding.line

    best, other = sorted((first, second), key=weight)
    return best if best.suggestion is not None else replace(best, suggestion=other.suggestion)
