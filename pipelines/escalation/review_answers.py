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
        if answer.failure is not None:
            return "Claude's answer is no list of findings"
        findings = merge_findings(answer.findings)
        return Given(verdict(findings), tuple(asdict(finding) for finding in findings), answer.dropped.total())

    return read
