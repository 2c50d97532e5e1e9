"""The claims of complete code reviews, and which of them known faults, people and Claude confirmed or rejected.

In: runs, and the sources that may teach. Out: reviewed documents with the token ids of their claims, as the runs'
engine read them. Only the verification learns from them: nothing here tells how a review is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.deciding.run_labels import known_labels, uniform_items
from flows.questions.code_review import ReviewQuestion
from flows.run import Run
from flows.stages.planning import read_plan
from pipelines.adapting.labels import Source
from pipelines.adapting.reviews import LabelledReview, PutClaim, Truth, label_claims, own_answers
from pipelines.errors import JobError
from pipelines.routes import Route
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.store import layout
from pipelines.store.runs import result_parts
from pipelines.store.schemas import FINDING, from_arrow, read_part
from pipelines.store.side_by_side import in_order
from pipelines.tasks.code_review.findings import Finding
from pipelines.tasks.code_review.labelled_faults import Fault, LabelledFaults, read_labelled_faults
from workers.adapting.claims import put_claims
from workers.engines.reviews import ClaimTokens
from workers.engines.tokens import TextTokenizer

_OF_PLAN = ["item_id", "document_id", "text", "pieces", "gold_label", "withheld"]
OF_REVIEWS = ("item_id", "failure", "unfinished", "findings", "clean_claims", "dropped_findings")
_FINDING_NAMES = [field.name for field in FINDING]


def read_labelled_reviews(run: Run, sources: Sequence[Source]) -> Iterator[LabelledReview]:
    """Every document of a complete review of which one of the sources knows the verdict.

    Documents that a policy withholds teach nothing, nor do those of which it cannot be told what each claim was about.

    Raises:
        JobError: the file of known faults is gone, or says something else by now.
    """
    return _LabelledReviews(run, sources).read()


class _LabelledReviews:
    """One run, and what is known of its documents."""

    def __init__(self, run: Run, sources: Sequence[Source]) -> None:
        assert isinstance(run.question, ReviewQuestion)
        settings = run.question.review_settings
        assert settings.tokenizer_json is not None, "an engine read its documents"
        self._run, self._codes = run, {name: code for code, name in enumerate(run.job.labels)}
        self._claim_tokens = ClaimTokens(settings, TextTokenizer(settings.tokenizer_json).encode_documents)
        self._known, self._uniform = known_labels(run, sources), uniform_items(run)
        self._faults = _known_faults(run) if "gold" in sources else None
        self._claude = _claudes_findings(run) if "claude" in sources else {}

    def read(self) -> Iterator[LabelledReview]:
        plan = read_plan(self._run)
        assert plan is not None, "a complete run has a plan"
        for items, reviews in in_order(self._part, range(plan.shards)):
            for item in items.to_pylist():
                if (labelled := self._labelled(item, reviews[item["item_id"]])) is not None:
                    yield labelled

    def _part(self, shard: int) -> tuple[pa.Table, dict[str, dict[str, Any]]]:
        """What may teach of a shard: neither failed documents nor copies have a text."""
        part = from_arrow(self._run.store.read(layout.plan_part(shard)), _OF_PLAN)
        predictions = predictions_of(read_scored_part(self._run.store, shard))
        kept = predictions.select([name for name in OF_REVIEWS if name in predictions.column_names])
        reviews = {row["item_id"]: row for row in kept.to_pylist()}
        return part.filter(pc.and_(pc.is_valid(part["text"]), pc.is_null(part["withheld"]))), reviews

    def _labelled(self, item: dict[str, Any], review: dict[str, Any]) -> LabelledReview | None:
        item_id = item["item_id"]
        found = self._known.believed(item_id, item["gold_label"])
        if found is None:
            return None
        findings = [_finding(each) for each in review["findings"]]
        claims = put_claims(item, findings, review, self._claim_tokens)
        if claims is None:
            return None
        source, verdict = found
        return LabelledReview(
            item_id=item_id,
            tokens=np.array([token for piece in item["pieces"] for token in piece["tokens"]], np.int32),
            label=self._codes[verdict],
            source=source,
            is_uniform=item_id in self._uniform,
            sureness=self._known.sureness_of(item_id, source),
            claims=claims,
            is_true=self._is_true(item, review, findings, claims, found),
            review=review,
        )

    def _is_true(
        self,
        item: dict[str, Any],
        review: dict[str, Any],
        findings: Sequence[Finding],
        claims: Sequence[PutClaim],
        found: tuple[Source, str],
    ) -> tuple[bool | None, ...]:
        source, verdict = found
        if source == "engine":
            return own_answers(claims, review)
        faults: Sequence[Fault] | None = None
        if source == "gold" and self._faults is not None:
            self._check_unchanged(item)
            faults = self._faults.of_document(item["document_id"])
        elif source == "claude":
            faults = [_as_fault(each) for each in self._claude[item["item_id"]]]
        return label_claims(claims, findings, len(item["pieces"]), Truth(verdict, faults))

    def _check_unchanged(self, item: dict[str, Any]) -> None:
        assert self._faults is not None
        evaluation = self._run.job.evaluation
        if evaluation and self._faults.verdict_of(item["document_id"]) != item["gold_label"]:
            raise JobError(
                [
                    f"{self._run.run_id}: '{evaluation.faults_file}' says something else of {item['document_id']} than "
                    "when the run was begun; put the file back, or run the job again and learn from that run"
                ],
                source="what is to be learnt from",
            )


def _known_faults(run: Run) -> LabelledFaults | None:
    evaluation = run.job.evaluation
    return read_labelled_faults(evaluation.faults_file) if evaluation and evaluation.faults_file else None


def _claudes_findings(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Claude's list about each item that it has answered."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key in result_parts(run.store):
        part = read_part(run.store.read(key), ["item_id", "route", "findings"])
        answered = part.filter(pc.equal(part["route"], pa.scalar(str(Route.ESCALATED))))
        found |= {row["item_id"]: row["findings"] or [] for row in answered.to_pylist()}
    return found


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(**{name: row[name] for name in _FINDING_NAMES})


def _as_fault(row: dict[str, Any]) -> Fault:
    return Fault(None, row["path"], row["line"], row["end_line"], row["category"], row["severity"])
