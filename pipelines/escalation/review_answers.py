"""Claude's answer about the code of one item: its verified list of findings, and the verdict that follows from it."""

from __future__ import annotations

from dataclasses import asdict

from pipelines.escalation.endings import Given, ReadAnswer
from pipelines.tasks.code_review.answers import parse_answer
from pipelines.tasks.code_review.findings import ReviewedLines, merge_findings
from pipelines.tasks.code_review.verification import verdict


def review_reader(lines: ReviewedLines) -> ReadAnswer:
    """Reads the answer about code of which these lines were sent."""

    def read(text: str | None) -> Given | str:
        answer = parse_answer(text or "", lines)
        findings = merge_findings(answer.findings)
        if answer.failure is not None and not (answer.is_cut and findings):
            return "Claude's answer is no list of findings"
        rows = tuple(asdict(finding) for finding in findings)
        label = None if answer.is_cut else verdict(findings)
        return Given(label, rows, answer.dropped.total(), answer.is_cut)

    return read
