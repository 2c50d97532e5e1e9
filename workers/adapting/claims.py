"""The claims that an engine has verified, read back from what a run keeps: the very tokens that were put to it.

In: an item's rows of plan and predictions. Out: its claims. Knows nothing of torch or stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.adapting.reviews import PutClaim
from pipelines.documents.code.shown import LineMap
from pipelines.tasks.code_review.findings import Finding
from workers.engines.reviews import ClaimTokens


def put_claims(
    item: Mapping[str, Any], findings: Sequence[Finding], review: Mapping[str, Any], claim_tokens: ClaimTokens
) -> tuple[PutClaim, ...] | None:
    """The claims of one item, those of its findings first, as `Reviewer` put them.

    Args:
        item: ``text`` and ``pieces`` of the plan.
        findings: of the review.
        review: its row of the predictions.
        claim_tokens: of the run's question.

    Returns:
        None where it cannot be told which of several pieces were those without findings: what was found in two pieces
        is kept once, and a piece may have had no other.
    """
    if review["failure"]:  # it never stands, whatever its claims
        return ()
    pieces = [(piece["tokens"], LineMap.of(piece["text"] or item["text"])) for piece in item["pieces"]]
    claims, silent = [], set(range(len(pieces)))
    for place, (finding, kept) in enumerate(zip(findings, review["findings"], strict=True)):
        number = next(number for number, (_, lines) in enumerate(pieces) if lines.contains(finding.path, finding.line))
        silent -= {number for number, (_, lines) in enumerate(pieces) if lines.contains(finding.path, finding.line)}
        if kept["true_logprob"] is not None:
            code, lines = pieces[number]
            tokens = claim_tokens.of_finding(finding, len(code))
            assert tokens is not None, "it was put"
            claims.append(PutClaim(np.array([*code, *tokens], np.int32), place, lines))
    if len(silent) != len(review["clean_claims"]):
        return None
    for number in sorted(silent):
        code, lines = pieces[number]
        claims.append(PutClaim(np.array([*code, *claim_tokens.of_silence()], np.int32), None, lines))
    return tuple(claims)
