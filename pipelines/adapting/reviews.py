"""What is known of a review, put as labels of the claims that its verification asks about.

A claim is true or false: that a finding is a fault, or that a piece without findings has none. Known faults, or
Claude's list of them, say it of every claim; a verdict alone, as people give it, only where nothing is left to choose.
Out as well: log-probabilities of verdicts that rank reviews as the rule does. Knows nothing of stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.adapting.gate import Logprobs
from pipelines.adapting.labels import Labelled
from pipelines.predictions import Predicted
from pipelines.tasks.code_review.evaluation import borne_out
from pipelines.tasks.code_review.findings import Finding, ReviewedLines
from pipelines.tasks.code_review.labelled_faults import Fault
from pipelines.tasks.code_review.verification import VERDICT_CLEAN

# Shares of 0 have no logarithm; of two verdicts alike, the review's own must be the larger.
_LEAST_SHARE, _LESS = 1e-9, 1 - 1e-9


@dataclass(frozen=True)
class PutClaim:
    """A claim that was put to the engine: token ids of code and claim, and what it is about."""

    tokens: NDArray[np.int32]
    finding: int | None  # its place among the review's findings; None: that a piece is clean, which has these lines
    lines: ReviewedLines


@dataclass(frozen=True)
class Truth:
    """What a source says of a reviewed document; ``faults`` is None where it gave a verdict and nothing else."""

    verdict: str
    faults: Sequence[Fault] | None


@dataclass(frozen=True)
class LabelledReview(Labelled):
    """A reviewed document: its verdict as the label, and whether each of its claims is true (None: nobody says)."""

    claims: tuple[PutClaim, ...] = field(kw_only=True)
    is_true: tuple[bool | None, ...] = field(kw_only=True)
    review: Mapping[str, Any] = field(kw_only=True)  # its row of the predictions, schema `REVIEWS`


def label_claims(
    claims: Sequence[PutClaim], findings: Sequence[Finding], pieces: int, truth: Truth
) -> tuple[bool | None, ...]:
    """Whether each claim is true, as far as the source says.

    Args:
        claims: of one document.
        findings: all of its review, as `PutClaim.finding` counts them.
        pieces: in how many it was read.
        truth: of the document.
    """
    if truth.faults is None:
        return tuple(_by_verdict(claim, truth.verdict, len(claims) == pieces == 1) for claim in claims)
    is_right = borne_out(findings, truth.faults)
    return tuple(
        _is_clean(claim.lines, truth.faults, pieces) if claim.finding is None else is_right[claim.finding]
        for claim in claims
    )


def _by_verdict(claim: PutClaim, verdict: str, is_only_one: bool) -> bool | None:
    """Of a faulty document nobody says which finding is the fault, nor whether it was found at all."""
    if verdict == VERDICT_CLEAN:
        return claim.finding is None
    return False if claim.finding is None and is_only_one else None


def _is_clean(lines: ReviewedLines, faults: Sequence[Fault], pieces: int) -> bool:
    if pieces == 1:
        return not faults
    return not any(
        lines.contains(fault.path, line) for fault in faults for line in range(fault.line, fault.end_line + 1)
    )


def own_answers(claims: Sequence[PutClaim], review: Mapping[str, Any]) -> tuple[bool, ...]:
    """What the engine itself answered to each claim."""
    return tuple(answer["true_logprob"] >= answer["false_logprob"] for answer in _answers(claims, review))


def verified_anew(
    review: Mapping[str, Any], claims: Sequence[PutClaim], logprobs: NDArray[np.float32]
) -> dict[str, Any]:
    """The review with other log-probabilities of its claims, shape [claims, true and false]."""
    changed = {
        **review,
        "findings": [dict(each) for each in review["findings"]],
        "clean_claims": [dict(each) for each in review["clean_claims"]],
    }
    for answer, pair in zip(_answers(claims, changed), logprobs.tolist(), strict=True):
        answer["true_logprob"], answer["false_logprob"] = pair
    return changed


def _answers(claims: Sequence[PutClaim], review: Mapping[str, Any]) -> list[Any]:
    """Where a review keeps what was answered to each claim."""
    clean = iter(review["clean_claims"])
    return [next(clean) if claim.finding is None else review["findings"][claim.finding] for claim in claims]


def ranked_logprobs(predicted: Predicted) -> Logprobs:
    """Of both verdicts: a review's own has the share that the rule ranks it by, how sure it is times its label mass."""
    scores = predicted.scores
    own = np.clip(scores.raw_prob * scores.label_mass, _LEAST_SHARE, 1.0)
    others = np.clip(np.minimum(scores.label_mass - own, own * _LESS), _LEAST_SHARE * _LESS, None)
    shares = np.tile(others, (2, 1)).T
    shares[np.arange(len(own)), scores.answer] = own
    logprobs: Logprobs = np.log(shares)
    return logprobs
