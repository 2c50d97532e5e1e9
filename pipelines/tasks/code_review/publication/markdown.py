"""The findings of one repository for people: Markdown, worst first, short enough to be read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pipelines.tasks.code_review.categories import SEVERITIES, categories
from pipelines.tasks.code_review.findings import FindingRow
from pipelines.tasks.code_review.publication.baseline import BaselineComparison
from pipelines.tasks.code_review.publication.coverage import Coverage
from pipelines.tasks.code_review.publication.selection import Selection

_MOST_LISTED = 50
# What Markdown, HTML or a code host would act on: emphasis, links, tags, tables, mentions, issue numbers.
_ACTIVE = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&$-])")


def findings_markdown(
    repository: str,
    selection: Selection,
    coverage: Coverage,
    *,
    threshold: float,
    dropped: int,
    comparison: BaselineComparison | None = None,
) -> str:
    """The summary of one repository.

    Args:
        repository: its name, for the heading.
        selection: see `select`.
        coverage: see there; a gap is told first.
        threshold: as given to `select`.
        dropped: findings that named a place which was not reviewed.
        comparison: with a baseline, whose new findings alone are listed.
    """
    listed = selection.published if comparison is None else comparison.new
    blocks = [f"# Code review of {escape(repository)}"]
    gap = coverage.gap()
    if gap is not None:
        blocks.append(f"**Incomplete.** {gap}.")
    if missing := coverage.told_missing:
        blocks.append("\n".join(["## Not reviewed", "", *(f"- {escape(text)}" for text in missing)]))
    blocks.append(_counts(selection, coverage, threshold, dropped, comparison))
    blocks += [_table(listed), _findings(listed)] if listed else ["Nothing to report."]
    if coverage.left_out:
        rows = (f"| {escape(reason)} | {count:,} |" for reason, count in sorted(coverage.left_out.items()))
        blocks.append("\n".join(["## Left out by rule", "", "| reason | files |", "|---|---:|", *rows]))
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Text that stays text: findings quote code, and code can hold anything."""
    return _ACTIVE.sub(r"\\\1", " ".join(text.split()))


def _counts(
    selection: Selection, coverage: Coverage, threshold: float, dropped: int, comparison: BaselineComparison | None
) -> str:
    lines = [f"- {coverage.reviewed_items:,} of {coverage.planned_items:,} items reviewed"]
    if comparison is None:
        lines.append(f"- {len(selection.published):,} findings reported, threshold {threshold:g}")
    else:
        lines.append(
            f"- against the baseline: {len(comparison.new):,} new findings (listed here), "
            f"{len(comparison.unchanged):,} unchanged, {len(comparison.absent):,} gone; threshold {threshold:g}"
        )
    lines += [f"- {count:,} findings kept back: {reason}" for reason, count in sorted(selection.withheld.items())]
    if dropped:
        lines.append(f"- {dropped:,} findings dropped: they name a place that was not reviewed")
    return "\n".join(lines)


def _table(rows: Sequence[FindingRow]) -> str:
    counts = Counter((row.finding.category, row.finding.severity) for row in rows)
    heading = ["| category | CWE | " + " | ".join(SEVERITIES) + " |", "|---|---|" + "---:|" * len(SEVERITIES)]
    body = [
        f"| {name} | {', '.join(category.cwe_ids) or '-'} | "
        + " | ".join(str(counts[name, severity] or "") for severity in SEVERITIES)
        + " |"
        for name, category in categories().items()
        if any(counts[name, severity] for severity in SEVERITIES)
    ]
    return "\n".join([*heading, *body])


def _findings(rows: Sequence[FindingRow]) -> str:
    lines = [line for row in rows[:_MOST_LISTED] for line in _finding(row)]
    if len(rows) > _MOST_LISTED:
        lines += ["", f"and {len(rows) - _MOST_LISTED:,} more, in findings.arrow"]
    return "\n".join(["## Findings", "", *lines])


def _finding(row: FindingRow) -> list[str]:
    finding = row.finding
    lines = f"{finding.line}" if finding.line == finding.end_line else f"{finding.line}-{finding.end_line}"
    sure = "" if row.confidence is None else f" ({row.confidence:.0%})"
    head = f"- **{finding.severity}** {finding.category}, {escape(finding.path)}:{lines}{sure}: "
    told = [head + escape(finding.message)]
    if finding.suggestion is not None:
        told.append(f"  - suggestion: {escape(finding.suggestion)}")
    return told
