"""Precision, recall and F1 of findings against known faults, by category and severity, each with its interval.

A finding is right when a known fault has its document, path and category, and their lines come within the line
tolerance of each other; each fault counts for one finding and each finding for one fault. A fault found twice is one
right finding and one wrong one.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from pipelines.tasks.code_review.categories import SEVERITIES, categories
from pipelines.tasks.code_review.findings import Finding, FindingRow
from pipelines.tasks.code_review.labelled_faults import Fault, LabelledFaults

DEFAULT_LINE_TOLERANCE = 2
ASSURANCE = 0.95


_Place = tuple[str | None, str, str]  # document, path, category


@dataclass(frozen=True)
class Share:
    """A measured share with its interval; ``value`` and bounds are None where there is nothing to share out."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Score:
    """``right`` findings, ``wrong`` ones, and known faults that were ``missed``."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> Share:
        """Share of findings that are right."""
        return wilson(self.right, self.right + self.wrong)

    @property
    def recall(self) -> Share:
        """Share of known faults that were found."""
        return wilson(self.right, self.right + self.missed)

    @property
    def f1(self) -> Share:
        """Harmonic mean of both.

        F1 = 2J / (1 + J), where J is the share of right ones among right, wrong and missed together. J is a plain
        proportion and the map is increasing, so J's interval carries over.
        """
        jaccard = wilson(self.right, self.right + self.wrong + self.missed)
        return Share(
            *(None if part is None else 2 * part / (1 + part) for part in (jaccard.value, jaccard.low, jaccard.high))
        )


@dataclass(frozen=True)
class ReviewEvaluation:
    """``is_right`` says of each finding given, in order, whether it is; None where its document was not labelled.

    A right finding counts under its fault's severity, whatever severity it gave.
    """

    overall: Score
    by_category: dict[str, Score]
    by_severity: dict[str, Score]
    line_tolerance: int
    is_right: tuple[bool | None, ...]


def evaluate(
    rows: Sequence[FindingRow], labelled: LabelledFaults, line_tolerance: int = DEFAULT_LINE_TOLERANCE
) -> ReviewEvaluation:
    """Compare findings with known faults.

    Where the labels name documents, findings in other documents are left aside; where they name paths alone, every
    finding counts.
    """
    found_by = _match(rows, labelled, line_tolerance)
    is_right = tuple(position in found_by if _is_labelled(row, labelled) else None for position, row in enumerate(rows))
    found = set(found_by.values())
    right = [labelled.faults[index] for index in found]
    missed = [fault for index, fault in enumerate(labelled.faults) if index not in found]
    wrong = [row.finding for row, outcome in zip(rows, is_right, strict=True) if outcome is False]

    def scores(names: Iterable[str], attribute: Literal["category", "severity"]) -> dict[str, Score]:
        counts = [Counter(getattr(one, attribute) for one in group) for group in (right, wrong, missed)]
        return {name: Score(*(count[name] for count in counts)) for name in names}

    return ReviewEvaluation(
        overall=Score(len(right), len(wrong), len(missed)),
        by_category=scores(categories(), "category"),
        by_severity=scores(SEVERITIES, "severity"),
        line_tolerance=line_tolerance,
        is_right=is_right,
    )


def borne_out(
    findings: Sequence[Finding], faults: Sequence[Fault], line_tolerance: int = DEFAULT_LINE_TOLERANCE
) -> tuple[bool, ...]:
    """Which findings of one document its known faults bear out: those that `evaluate` counts as right."""
    pairs = (
        (_lines_apart(finding, fault), number, place)
        for number, finding in enumerate(findings)
        for place, fault in enumerate(faults)
        if (finding.path, finding.category) == (fault.path, fault.category)
    )
    found_by = _nearest_first(pairs, line_tolerance)
    return tuple(number in found_by for number in range(len(findings)))


def wilson(successes: int, trials: int, assurance: float = ASSURANCE) -> Share:
    """A proportion with its score interval (Wilson 1927, JASA 22:209-212), which holds for few trials too."""
    if not trials:
        return Share(None, None, None)
    z = NormalDist().inv_cdf(0.5 + assurance / 2)
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2) / (1 + z * z / trials)
    # Rounding can carry a bound past the share itself where that is 0 or 1.
    return Share(share, min(share, max(0.0, middle - spread)), max(share, min(1.0, middle + spread)))


def evaluation_markdown(evaluation: ReviewEvaluation) -> str:
    """The numbers as a table; categories that were neither reported nor there are left out."""
    lines = [
        f"Right: same path and category, lines within {evaluation.line_tolerance}. "
        f"In brackets: {ASSURANCE:.0%} Wilson intervals.",
        "",
        "| | right | wrong | missed | precision | recall | F1 |",
        "|---|---:|---:|---:|---:|---:|---:|",
        _row("**all**", evaluation.overall),
    ]
    for scores in (evaluation.by_severity, evaluation.by_category):
        lines += [_row(name, score) for name, score in scores.items() if score != Score(0, 0, 0)]
    return "\n".join(lines) + "\n"


def _row(name: str, score: Score) -> str:
    shares = " | ".join(_told(share) for share in (score.precision, score.recall, score.f1))
    return f"| {name} | {score.right:,} | {score.wrong:,} | {score.missed:,} | {shares} |"


def _told(share: Share) -> str:
    return "-" if share.value is None else f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"


def _is_labelled(row: FindingRow, labelled: LabelledFaults) -> bool:
    return labelled.documents is None or row.document_id in labelled.documents


def _match(rows: Sequence[FindingRow], labelled: LabelledFaults, line_tolerance: int) -> dict[int, int]:
    """Index of each right finding to the index of its fault: the nearest first."""
    findings: dict[_Place, list[int]] = defaultdict(list)
    faults: dict[_Place, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if _is_labelled(row, labelled):
            document = None if labelled.documents is None else row.document_id
            findings[document, row.finding.path, row.finding.category].append(index)
    for index, known in enumerate(labelled.faults):
        faults[known.document_id, known.path, known.category].append(index)
    near = (
        (_lines_apart(rows[finding].finding, labelled.faults[fault]), finding, fault)
        for place in faults
        for finding in findings.get(place, ())
        for fault in faults[place]
    )
    return _nearest_first(near, line_tolerance)


def _nearest_first(pairs: Iterable[tuple[int, int, int]], line_tolerance: int) -> dict[int, int]:
    """Finding to fault, each once, of pairs of (lines apart, finding, fault)."""
    found_by: dict[int, int] = {}
    taken: set[int] = set()
    for _, finding, fault in sorted(pair for pair in pairs if pair[0] <= line_tolerance):
        if finding not in found_by and fault not in taken:
            found_by[finding] = fault
            taken.add(fault)
    return found_by


def _lines_apart(finding: Finding, fault: Fault) -> int:
    """Lines between a finding and a fault; 0 where they overlap."""
    return max(0, finding.line - fault.end_line, fault.line - finding.end_line)
