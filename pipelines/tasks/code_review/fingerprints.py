"""What names a finding when the lines around it have moved.

A fingerprint is made from the file's path, the category and the text of the line, without white space; lines inserted
above, another indentation or other line ends leave it alone. A line that says too little to be known again (a bracket,
`return x`) is taken together with the lines that follow. The same text twice in one file is told apart by counting.
Line numbers, the message and the model are left out: they change between two runs over the same code.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from pipelines.tasks.code_review.findings import Finding, ReviewedLines, by_place

# Part of every hash: fingerprints of another way of making them are never equal by chance.
_VERSION = "1"
_TELLING_CHARACTERS = 16
_MOST_LINES = 3
# How a carriage return is shown (`pipelines.documents.code.shown`): the same line with other line ends is the same.
_SHOWN_CARRIAGE_RETURN = "\u240d"


def fingerprints(findings: Sequence[Finding], lines: ReviewedLines) -> tuple[str, ...]:
    """One per finding, in the order given; all findings of one item, so that equal lines are counted right."""
    seen: Counter[str] = Counter()
    named: dict[int, str] = {}
    for position in sorted(range(len(findings)), key=lambda position: by_place(findings[position])):
        digest = _digest(findings[position], lines)
        seen[digest] += 1
        named[position] = f"{digest}:{seen[digest]}"
    return tuple(named[position] for position in range(len(findings)))


def end_column(finding: Finding, lines: ReviewedLines) -> int | None:
    """The column after the last character of the finding's last line, in code points from 1."""
    text = lines.text_at(finding.path, finding.end_line)
    return None if text is None else len(text.removesuffix(_SHOWN_CARRIAGE_RETURN)) + 1


def _digest(finding: Finding, lines: ReviewedLines) -> str:
    content = "\x00".join([_VERSION, finding.path, finding.category, _telling_text(finding, lines)])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _telling_text(finding: Finding, lines: ReviewedLines) -> str:
    telling = ""
    for line in range(finding.line, finding.line + _MOST_LINES):
        text = lines.text_at(finding.path, line) or ""
        telling += "".join(text.removesuffix(_SHOWN_CARRIAGE_RETURN).split())
        if len(telling) >= _TELLING_CHARACTERS:
            break
    return telling
