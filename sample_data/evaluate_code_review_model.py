"""Measure the review model on the held-out diffs: `python -m sample_data.evaluate_code_review_model`.

The product's own path from files to findings: its readers, prompts, answer schema and checks, and its engine.
Prints what a model card should quote. Held-out diffs are read here and nowhere in training.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.cascade.confidence import read_scores
from pipelines.documents.code.reading.diffs import show_diff
from pipelines.documents.code.reading.patch_reader import read_patches
from pipelines.documents.code.shown import LineMap
from pipelines.documents.records import Document, RowColumns
from pipelines.documents.sources.sources import list_sources
from pipelines.job.sections import ModelSource
from pipelines.tasks.code_review.answers import ReviewAnswer, engine_answer_schema, parse_answer
from pipelines.tasks.code_review.evaluation import Share, evaluate, evaluation_markdown, wilson
from pipelines.tasks.code_review.findings import Finding, FindingRow, merge_findings
from pipelines.tasks.code_review.labelled_faults import LabelledFaults, read_labelled_faults
from pipelines.tasks.code_review.prompts import claim_block
from pipelines.tasks.code_review.verification import CLEAN_CLAIM, finding_claim
from sample_data.code_training.tokens import product_prompts
from sample_data.starter_training.measures import Bools, Floats, calibration_error, ranking_quality
from workers.engines.catalogue import catalogue, resolve_model
from workers.engines.engine import ReviewEngine
from workers.engines.tokens import ModelTokenizer, TokenFrame

CODE = Path(__file__).with_name("code")
MODEL = Path(__file__).with_name("review_model")
MAX_DOCUMENT_BYTES = 1_000_000
MAX_ANSWER_TOKENS = 400
THRESHOLDS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A held-out diff as a review shows it, and what the first pass made of it."""

    document_id: str
    code_ids: list[int]
    answer: ReviewAnswer

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Each fault once."""
        return merge_findings(self.answer.findings)


def main() -> None:
    """Review the held-out diffs, verify each finding, and print the measures."""
    parser = argparse.ArgumentParser(description="Measure the review model on the held-out diffs.")
    parser.add_argument("--code", type=Path, default=CODE, help="folder with diffs/ and diff_faults.jsonl")
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of the model")
    options = parser.parse_args()
    model = resolve_model(ModelSource(source=str(options.model.resolve())))
    device = catalogue().devices["cpu"]
    os.environ.update(device.environment)  # before the engine imports vLLM
    tokenizer = ModelTokenizer(model)
    review_frame, claim_frame = (tokenizer.encode_frame(prompt) for prompt in product_prompts())
    engine_args = {**device.engine, **model.engine}
    engine = ReviewEngine(model.weights, engine_args, claim_frame.codes, engine_answer_schema(), MAX_ANSWER_TOKENS)
    reviewed = review(engine, tokenizer, review_frame, read_heldout(options.code))
    finding_probs, clean_probs = verify(engine, tokenizer, claim_frame, reviewed)
    engine.close()
    labelled = read_labelled_faults(str(options.code / "diff_faults.jsonl"))
    rows = [
        FindingRow(one.document_id, one.document_id, None, finding, None, "", None, None, "accepted")
        for one in reviewed
        for finding in one.findings
    ]
    _print_answers(reviewed)
    print(evaluation_markdown(evaluate(rows, labelled)))
    exact = evaluation_markdown(evaluate(rows, labelled, line_tolerance=0))
    print("With the very line asked for:", exact.splitlines()[4])
    print()
    _print_kinds(rows, labelled, options.code / "diff_faults.jsonl")
    _print_verification(rows, labelled, finding_probs)
    _print_clean(reviewed, labelled, clean_probs)


def read_heldout(code: Path) -> list[Document]:
    """Every held-out diff as text to review."""
    read = [
        document
        for source in list_sources(str(code / "diffs"))
        for given in read_patches(source, RowColumns(), MAX_DOCUMENT_BYTES)
        for document in show_diff(given)
        if isinstance(document, Document) and document.text is not None
    ]
    if not read:
        raise SystemExit(f"no diffs in {code / 'diffs'}; make them with python -m sample_data.generate_code")
    return read


def review(
    engine: ReviewEngine, tokenizer: ModelTokenizer, frame: TokenFrame, documents: Sequence[Document]
) -> list[Reviewed]:
    """The first pass: findings as JSON, held to the schema while they are written."""
    codes = tokenizer.encode_documents([document.text or "" for document in documents])
    written = engine.write([[*frame.prefix, *ids, *frame.suffix] for ids in codes]).result()
    return [
        Reviewed(document.document_id, ids, parse_answer(text, LineMap.of(document.text or "")))
        for document, ids, text in zip(documents, codes, written.texts, strict=True)
    ]


def verify(
    engine: ReviewEngine, tokenizer: ModelTokenizer, frame: TokenFrame, reviewed: Sequence[Reviewed]
) -> tuple[Floats, dict[str, float]]:
    """The second pass: the probability of each finding, and of each diff without findings that it is clean."""
    claims = [(one, finding_claim(finding)) for one in reviewed for finding in one.findings]
    findings = len(claims)
    claims += [(one, CLEAN_CLAIM) for one in reviewed if not one.findings]
    tails = tokenizer.encode_documents([claim_block(claim) for _, claim in claims])
    prompts = [
        [*frame.prefix, *one.code_ids, *tail, *frame.suffix] for (one, _), tail in zip(claims, tails, strict=True)
    ]
    scores = engine.score(prompts).result()
    read = read_scores(scores.label_logprobs.astype(np.float64), None)
    true_probs = np.where(read.answer == 0, read.raw_prob, 1 - read.raw_prob)
    clean = {
        one.document_id: float(prob) for (one, _), prob in zip(claims[findings:], true_probs[findings:], strict=True)
    }
    return true_probs[:findings], clean


def _print_answers(reviewed: Sequence[Reviewed]) -> None:
    failed = sum(one.answer.failure is not None for one in reviewed)
    dropped = Counter(reason for one in reviewed for reason in one.answer.dropped.elements())
    print(f"{len(reviewed)} held-out diffs, {failed} answers unreadable, findings dropped: {dict(dropped) or 'none'}\n")


def _print_kinds(rows: Sequence[FindingRow], labelled: LabelledFaults, path: Path) -> None:
    """Recall of faults whose piece training has seen, with other names, and of those it has not."""
    given = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    new = {(row["document_id"], row["line"], row["category"]) for row in given if row.get("is_new_kind")}
    for name, is_new in (("seen in training, with other names", False), ("never seen in training", True)):
        faults = [
            fault for fault in labelled.faults if ((fault.document_id, fault.line, fault.category) in new) == is_new
        ]
        score = evaluate(rows, LabelledFaults(tuple(faults), labelled.documents)).overall
        print(f"- recall of faults of a kind {name}: {_told(score.recall)} of {len(faults)}")


def _print_verification(rows: Sequence[FindingRow], labelled: LabelledFaults, probs: Floats) -> None:
    is_right: Bools = np.array(evaluate(rows, labelled).is_right, dtype=bool)
    print("\n| reported from | findings | precision | recall |\n|---|---|---|---|")
    for threshold in (0.0, *THRESHOLDS):
        kept = [row for row, prob in zip(rows, probs, strict=True) if prob >= threshold]
        score = evaluate(kept, labelled).overall
        print(f"| {threshold} | {len(kept)} | {_told(score.precision)} | {_told(score.recall)} |")
    print()
    _print_trust("findings", "right", probs, is_right)


def _print_clean(reviewed: Sequence[Reviewed], labelled: LabelledFaults, clean_probs: dict[str, float]) -> None:
    faulty = {fault.document_id for fault in labelled.faults}
    verdicts = [(bool(one.findings), one.document_id in faulty) for one in reviewed]
    right = wilson(sum(said == known for said, known in verdicts), len(verdicts))
    false_alarms = wilson(sum(said for said, known in verdicts if not known), sum(not known for _, known in verdicts))
    is_clean: Bools = np.array([name not in faulty for name in clean_probs], dtype=bool)
    _print_trust("diffs without findings", "clean", np.array(list(clean_probs.values())), is_clean)
    print(f"- faulty or clean, by diff: accuracy {_told(right)}; clean diffs with a finding: {_told(false_alarms)}")


def _print_trust(what: str, outcome: str, probs: Floats, is_right: Bools) -> None:
    if not len(probs):
        print(f"- no {what}")
        return
    auroc = ranking_quality(probs, is_right)
    print(
        f"- {len(probs)} {what}: {is_right.mean():.3f} of them {outcome}, mean probability {probs.mean():.3f}, "
        f"ECE (15 bins) {calibration_error(probs, is_right):.3f}, AUROC {'-' if auroc is None else f'{auroc:.3f}'}"
    )


def _told(share: Share) -> str:
    return "-" if share.value is None else f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"


if __name__ == "__main__":
    main()
