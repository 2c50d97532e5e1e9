"""The findings of a code review on its page: how many of each kind, the worst of them, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.documents.code.shown import LineMap
from pipelines.errors import InvariantError
from pipelines.report.html.reported_run import ReportedRun
from pipelines.report.numbers import count
from pipelines.tasks.code_review.categories import SEVERITIES
from pipelines.tasks.code_review.findings import FindingRow

_LINES_AROUND = 2


@dataclass(frozen=True)
class ShownFinding:
    """A finding, and its lines where texts were asked for."""

    row: FindingRow
    lines: tuple[tuple[int, str, bool], ...] = ()


def severity_table(run: ReportedRun) -> list[tuple[str, list[int]]]:
    """Category, and its findings by severity, the most first; a sum at the end."""
    assert run.review is not None
    kinds = run.review.by_kind
    rows = [(name, [kinds[name, severity] for severity in SEVERITIES]) for name in sorted({name for name, _ in kinds})]
    sums = [sum(row[1][place] for row in rows) for place in range(len(SEVERITIES))]
    return [*sorted(rows, key=lambda row: [-number for number in row[1]]), ("all", sums)]


def shown_findings(run: ReportedRun) -> list[ShownFinding]:
    """The worst of the reported findings."""
    assert run.review is not None
    return [ShownFinding(row, _lines_of(run, row)) for row in run.review.shown]


def _lines_of(run: ReportedRun, row: FindingRow) -> tuple[tuple[int, str, bool], ...]:
    """The lines about a finding, each with its number and whether it is one of the finding's."""
    text = (run.texts or {}).get(row.item_id)
    if text is None:
        return ()
    try:
        lines = LineMap.of(text)
    except InvariantError:  # an older version showed code otherwise: the finding stands without its lines
        return ()
    finding = row.finding
    last = min(finding.end_line, finding.line + 4 * _LINES_AROUND)
    near = range(max(1, finding.line - _LINES_AROUND), last + _LINES_AROUND + 1)
    found = [(number, lines.text_at(finding.path, number)) for number in near]
    return tuple(
        (number, line, finding.line <= number <= finding.end_line) for number, line in found if line is not None
    )


def review_notes(run: ReportedRun) -> list[str]:
    """What is not among the findings, and why."""
    assert run.review is not None
    record, review = run.review.record, run.review
    reported = f"{count(review.published, 'finding')} reported of {record['findings']:,} made"
    why = ", ".join(f"{number:,} {reason}" for reason, number in sorted(review.withheld.items()))
    notes = [
        f"{record['reviewed_items']:,} of {count(record['planned_items'], 'item')} reviewed.",
        f"{reported}{f'; kept back: {why}' if why else ''}.",
    ]
    if record["dropped"]:
        notes.append(f"{record['dropped']:,} more named a line that was not shown, and were dropped.")
    if len(review.shown) < review.published:
        notes.append(
            f"The worst {len(review.shown):,} are listed; all are in {run.summary.run_id}/review/findings.arrow."
        )
    if record.get("missing"):
        notes.append(f"Not reviewed whole: {count(len(record['missing']), 'item')}; the SARIF log names them.")
    return notes
