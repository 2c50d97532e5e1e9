"""The second pass: each finding is put to the engine as a claim, true or false, one token.

The probability of "true" is the finding's raw confidence: measured, not the model's own words. An item without
findings is a claim too ("there is no fault in this code"), or nobody would know how sure its silence is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import MappingProxyType

from pipelines.tasks.code_review.findings import Finding

# In this order: the first label's share is the claim's probability. Codes are assigned as for any labels.
CLAIM_LABELS = MappingProxyType({"true": "the claim holds", "false": "the claim does not hold"})

VERDICT_FAULTY, VERDICT_CLEAN = "faulty", "clean"
# What the card of an adapter names as its task that was trained on these claims: reviews are written without it.
VERIFICATION_ONLY = "code review, verification only"
CLEAN_CLAIM = json.dumps({"claim": "this code has none of the listed faults"})


def finding_claim(finding: Finding) -> str:
    """The finding as one line of JSON: quotes, line ends and tags within the message cannot leave their field."""
    claim = {
        "claim": "this code has this fault",
        "category": finding.category,
        "path": finding.path,
        "line": finding.line,
        "end_line": finding.end_line,
        "message": finding.message,
    }
    return as_json_line(claim)


def as_json_line(value: object) -> str:
    """JSON without `<`: no text within it can look like one of the prompts' tags."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def verdict(findings: Iterable[Finding]) -> str:
    """The item's answer: whether its review reports anything."""
    return VERDICT_FAULTY if any(True for _ in findings) else VERDICT_CLEAN


def review_raw_prob(finding_probs: Iterable[float], clean_probs: Iterable[float] = ()) -> float | None:
    """How sure the engine is of an item's review as a whole: as sure as of its least sure part.

    Args:
        finding_probs: of each finding, that it is true. One that is surely false is as good as one that is surely
            true: the threshold keeps it out.
        clean_probs: of each piece without findings, that it is clean.

    Returns:
        None where nothing was asked.
    """
    certainties = [*(max(prob, 1 - prob) for prob in finding_probs), *clean_probs]
    return min(certainties, default=None)
