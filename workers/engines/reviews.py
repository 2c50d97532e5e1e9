"""A shard of a code review on one engine: every piece reviewed, then every finding put to the engine as a claim.

An answer that was cut at the output limit is asked for once more with a larger one, and what it held whole is kept.
In: rows of the plan. Out: a table of schema `REVIEWS`. The claims of a piece begin with the very tokens of its review,
so that the second pass finds the code in the prefix cache. Knows nothing of stores or Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipelines.documents.code.shown import LineMap
from pipelines.store.schemas import REVIEWS
from pipelines.tasks.code_review.answers import ReviewAnswer, parse_answer
from pipelines.tasks.code_review.findings import Finding, merge_findings
from pipelines.tasks.code_review.prompts import claim_block
from pipelines.tasks.code_review.verification import CLEAN_CLAIM, finding_claim
from workers.engines.requests import ShardScores, ShardTexts
from workers.engines.tokens import TokenFrame

# How much longer than the limit the second answer to the same question may be.
LONGER_ANSWER = 4


@dataclass(frozen=True)
class ReviewSettings:
    """What both passes need besides the engine; ``frame`` is that of the claims and shares its prefix."""

    review_suffix: tuple[int, ...]
    frame: TokenFrame
    max_output_tokens: int
    context_tokens: int
    tokenizer_json: str | None  # None: a server makes the tokens


class ReviewingModel(Protocol):
    """What answers both passes: an engine, or a server in its place."""

    def write(self, prompts: Sequence[list[int]], max_output_tokens: int | None = None) -> Future[ShardTexts]:
        """An answer to each prompt that obeys the schema of a review."""

    def score(self, prompts: Sequence[list[int]]) -> Future[ShardScores]:
        """The log-probabilities of true and false after each prompt."""


@dataclass
class _Piece:
    item: _Item
    tokens: list[int]
    lines: LineMap
    is_clean: bool = False


@dataclass
class _Item:
    """One item as it is worked on; ``usage`` counts by the columns of `REVIEWS`."""

    item_id: str
    pieces: list[_Piece] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)
    failure: str | None = None
    note: str | None = None
    dropped_findings: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)
    clean_claims: list[dict[str, Any]] = field(default_factory=list)
    usage: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Claim:
    """One claim about one piece, and where its log-probabilities go."""

    piece: _Piece
    tokens: list[int]
    outcome: dict[str, Any]


Tokenize = Callable[[list[str]], list[list[int]]]


@dataclass(frozen=True)
class ClaimTokens:
    """What stands between code and question, in token ids; the same whenever a claim is put again."""

    settings: ReviewSettings
    tokenize: Tokenize

    def of_finding(self, finding: Finding, code_tokens: int) -> list[int] | None:
        """With less of its message where the context is short beside so much code; None if even none of it fits."""
        room = self.settings.context_tokens - len(self.settings.frame) - code_tokens - 1
        length = len(finding.message)
        while True:
            tokens = self._of(finding_claim(replace(finding, message=finding.message[:length])))
            if len(tokens) <= room:
                return tokens
            if not length:
                return None
            length //= 2

    def of_silence(self) -> list[int]:
        """That a piece without findings is clean."""
        return self._of(CLEAN_CLAIM)

    def _of(self, claim: str) -> list[int]:
        return self.tokenize([claim_block(claim)])[0]


class Reviewer:
    """Reviews shards; may be called from several threads, so that the engine always has something to do."""

    def __init__(self, engine: ReviewingModel, settings: ReviewSettings, tokenize: Tokenize) -> None:
        self._engine = engine
        self._settings = settings
        self._claim_tokens = ClaimTokens(settings, tokenize)

    def review(self, plan: pa.Table) -> pa.Table:
        """Review the rows that did not fail.

        Args:
            plan: columns item_id, text and pieces of schema `REVIEW_PLAN`.

        Returns:
            A table of schema `REVIEWS`, in the plan's order.

        Raises:
            EngineError: the engine failed.
        """
        items = list(_items(plan))
        pieces = [piece for item in items for piece in item.pieces]
        prefix, suffix = self._settings.frame.prefix, self._settings.review_suffix
        prompts = [[*prefix, *piece.tokens, *suffix] for piece in pieces]
        written = self._engine.write(prompts).result()
        _count(written, pieces)
        answers = [parse_answer(text, piece.lines) for piece, text in zip(pieces, written.texts, strict=True)]
        self._ask_again(pieces, prompts, answers)
        for piece, answer in zip(pieces, answers, strict=True):
            _take_answer(piece, answer)
        claims = [claim for item in items for claim in self._claims(item)]
        after = self._settings.frame.suffix
        questions = [[*prefix, *claim.piece.tokens, *claim.tokens, *after] for claim in claims]
        scores = self._engine.score(questions).result()
        for claim, logprobs in zip(claims, scores.label_logprobs.tolist(), strict=True):
            claim.outcome["true_logprob"], claim.outcome["false_logprob"] = logprobs
        _count(scores, [claim.piece for claim in claims], is_verification=True)
        now = datetime.now(UTC)
        return pa.Table.from_pylist([_row(item, now) for item in items], schema=REVIEWS)

    def _ask_again(self, pieces: Sequence[_Piece], prompts: Sequence[list[int]], answers: list[ReviewAnswer]) -> None:
        """Replace the answers that were cut, where a longer one has room and there is hope that it comes to its end."""
        settings = self._settings
        limit = min(settings.max_output_tokens * LONGER_ANSWER, settings.context_tokens)
        again = [
            row
            for row, answer in enumerate(answers)
            if answer.is_cut
            and not answer.is_repeating
            and len(prompts[row]) + settings.max_output_tokens < settings.context_tokens
        ]
        if not again:
            return
        written = self._engine.write([prompts[row] for row in again], limit).result()
        _count(written, [pieces[row] for row in again])
        for row, text in zip(again, written.texts, strict=True):
            piece, first = pieces[row], answers[row]
            second = parse_answer(text, piece.lines)
            answers[row] = replace(second, findings=(*second.findings, *first.findings))
            piece.item.note = (
                f"an answer was cut at {settings.max_output_tokens:,} tokens and asked for again with up to {limit:,}"
            )

    def _claims(self, item: _Item) -> Iterator[_Claim]:
        """What is to be verified of an item; its findings are all kept, also those that no claim has room for."""
        for finding in merge_findings(item.found):
            outcome = asdict(finding)
            item.findings.append(outcome)
            piece = next(piece for piece in item.pieces if piece.lines.contains(finding.path, finding.line))
            tokens = self._claim_tokens.of_finding(finding, len(piece.tokens))
            if tokens is not None:
                yield _Claim(piece, tokens, outcome)
        for piece in item.pieces:
            if piece.is_clean:
                item.clean_claims.append({})
                yield _Claim(piece, self._claim_tokens.of_silence(), item.clean_claims[-1])


def _items(plan: pa.Table) -> Iterator[_Item]:
    for row in plan.select(["item_id", "text", "pieces"]).to_pylist():
        item = _Item(row["item_id"])
        for piece in row["pieces"]:
            text = row["text"] if piece["text"] is None else piece["text"]
            item.pieces.append(_Piece(item, piece["tokens"], LineMap.of(text)))
        yield item


def _take_answer(piece: _Piece, answer: ReviewAnswer) -> None:
    piece.item.failure = piece.item.failure or answer.failure
    piece.item.dropped_findings += answer.dropped.total()
    piece.item.found += answer.findings
    piece.is_clean = answer.failure is None and not answer.findings


def _count(result: ShardScores | ShardTexts, pieces: Sequence[_Piece], *, is_verification: bool = False) -> None:
    names = ("input_tokens", "cached_tokens", "output_tokens", "device_nanoseconds")
    columns = np.stack([getattr(result, name) for name in names], axis=1).tolist()
    for piece, (prompt, cached, output, nanoseconds) in zip(pieces, columns, strict=True):
        counts = dict(zip(names, (prompt, cached, output, nanoseconds), strict=True))
        if is_verification:
            counts |= {
                "verification_input_tokens": prompt,
                "verification_cached_tokens": cached,
                "verification_nanoseconds": nanoseconds,
            }
        piece.item.usage.update(counts)


def _row(item: _Item, now: datetime) -> dict[str, Any]:
    counted = [name for name in REVIEWS.names if name.endswith(("_tokens", "_nanoseconds"))]
    return {
        "item_id": item.item_id,
        "failure": None if item.findings else item.failure,
        "unfinished": item.failure if item.findings else None,
        "note": item.note,
        "findings": item.findings,
        "clean_claims": item.clean_claims,
        "dropped_findings": item.dropped_findings,
        "scored_at": now,
        **{name: item.usage[name] for name in counted},
    }
