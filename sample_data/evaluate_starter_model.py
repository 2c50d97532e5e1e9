"""Measure the starter model on the held-out tickets: `python -m sample_data.evaluate_starter_model`.

The product's own path from files to probabilities: its readers, its tokenisation, its vLLM engine. Prints what
MODEL_CARD.md quotes. Held-out texts are read here and nowhere in training.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.cascade.confidence import Calibration, Scores, read_scores
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import RowColumns
from pipelines.documents.sources.sources import list_sources
from pipelines.job.sections import ModelSource
from pipelines.tasks.classification import PromptFrame
from sample_data.starter_training import tickets
from sample_data.starter_training.measures import Bools, Floats, Ints, calibration_error, ranking_quality
from sample_data.starter_training.tokens import production_frame
from workers.engines.catalogue import ResolvedModel, catalogue, resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.tokens import ModelTokenizer, TokenFrame, context_length

MODEL = Path(__file__).with_name("starter_model")
MAX_DOCUMENT_BYTES = 1_000_000
EASY = "easy"
# Documents the freshly started engine reads before the clock runs.
WARM_UP = 200


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A held-out document as the readers give it, and what the gold file says of it."""

    text: str
    label: str
    hardness: str


def main() -> None:
    """Score the held-out tickets and print the measures."""
    parser = argparse.ArgumentParser(description="Measure the starter model on the held-out tickets.")
    parser.add_argument("--tickets", type=Path, default=tickets.TICKETS, help="folder with heldout/ and gold.csv")
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of the model")
    parser.add_argument("--compare-torch", type=int, default=32, help="documents to score with transformers as well")
    options = parser.parse_args()
    labels = list(tickets.read_labels())
    documents = read_heldout(options.tickets)
    model = resolve_model(ModelSource(source=str(options.model.resolve())))
    if model.calibration is None:
        raise SystemExit("the model folder has no calibration.json; train the model first")
    frame = production_frame(tickets.read_labels())
    tokens = _tokenise(model, frame, [document.text for document in documents])
    log_probs, items_per_second = _score(model, *tokens)
    gold = np.array([labels.index(document.label) for document in documents])
    report(log_probs, gold, [document.hardness for document in documents], labels, model.calibration)
    print(f"\nitems/s: {items_per_second:.0f} (one engine, one thread)")
    if options.compare_torch:
        _compare_with_torch(model, tokens, log_probs, options.compare_torch)


def read_heldout(folder: Path) -> list[HeldOut]:
    """Every held-out document that has a gold row; a gold row without its document is an error."""
    with (folder / "gold.csv").open(encoding="utf-8", newline="") as stream:
        gold = {row["id"]: row for row in csv.DictReader(stream)}
    texts = {
        document.document_id: document.text
        for source in list_sources(str(folder / "heldout"))
        for document in read_documents(source, RowColumns(), MAX_DOCUMENT_BYTES)
        if document.text is not None
    }
    missing = gold.keys() - texts.keys()
    if missing:
        raise SystemExit(f"{len(missing)} gold rows have no readable document, '{sorted(missing)[0]}' for one")
    return [HeldOut(texts[name], row["label"], row["hardness"] or EASY) for name, row in gold.items()]


def _tokenise(model: ResolvedModel, frame: PromptFrame, texts: list[str]) -> tuple[TokenFrame, list[list[int]]]:
    tokenizer = ModelTokenizer(model)
    token_frame = tokenizer.encode_frame(frame)
    room = context_length(model) - len(token_frame) - 1
    return token_frame, [ids[:room] for ids in tokenizer.encode_documents(texts)]


def _score(model: ResolvedModel, frame: TokenFrame, documents: Sequence[Sequence[int]]) -> tuple[Floats, float]:
    """Label log-probabilities from vLLM with the catalogue's settings for a CPU, and the speed."""
    device = catalogue().devices["cpu"]
    os.environ.update(device.environment)  # before the engine imports vLLM
    engine = LabelEngine(model.weights, {**device.engine, **model.engine}, frame)
    prompts = [np.array(ids, dtype=np.int32) for ids in documents]
    # Shuffled token ids: the clock must not find these documents in the prefix cache.
    mixed = np.random.default_rng(0)
    engine.score([mixed.permutation(ids) for ids in prompts[:WARM_UP]]).result()
    started = time.perf_counter()
    scores = engine.score(prompts).result()
    seconds = time.perf_counter() - started
    engine.close()
    return scores.label_logprobs.astype(np.float64), len(prompts) / seconds


def report(
    log_probs: Floats, gold: Ints, hardness: Sequence[str], labels: Sequence[str], calibration: Calibration
) -> None:
    """Print accuracy by hardness and label, and how far the probabilities can be trusted."""
    scores = read_scores(log_probs, calibration)
    is_correct = scores.answer == gold
    kinds = np.array(hardness)
    groups = {"all": np.ones(len(gold), bool), EASY: kinds == EASY, "hard": kinds != EASY}
    groups |= {kind: kinds == kind for kind in sorted(set(hardness) - {EASY})}
    _print_groups(groups, scores, is_correct)
    _print_labels(labels, scores.answer, gold)
    _print_trust(scores, is_correct, calibration.temperature)


def _print_groups(groups: Mapping[str, Bools], scores: Scores, is_correct: Bools) -> None:
    print("| documents | count | accuracy | mean raw_prob | share of raw_prob >= 0.9 |\n|---|---|---|---|---|")
    for name, members in groups.items():
        sure = (scores.raw_prob[members] >= 0.9).mean()
        accuracy, raw_prob = is_correct[members].mean(), scores.raw_prob[members].mean()
        print(f"| {name} | {members.sum()} | {accuracy:.3f} | {raw_prob:.3f} | {sure:.3f} |")


def _print_labels(labels: Sequence[str], answers: Ints, gold: Ints) -> None:
    print("\n| label | count | recall | precision | most often taken for |\n|---|---|---|---|---|")
    for place, name in enumerate(labels):
        mine, said = gold == place, answers == place
        recall = (answers[mine] == place).mean()
        precision = (gold[said] == place).mean() if said.any() else float("nan")
        counts = np.bincount(answers[mine & ~said], minlength=len(labels))
        taken_for = f"{labels[int(counts.argmax())]} ({counts.max()})" if counts.any() else "-"
        print(f"| {name} | {mine.sum()} | {recall:.3f} | {precision:.3f} | {taken_for} |")


def _print_trust(scores: Scores, is_correct: Bools, temperature: float) -> None:
    assert scores.confidence is not None
    print(f"\nECE (15 bins): {calibration_error(scores.raw_prob, is_correct):.4f} as the engine says it, ", end="")
    print(f"{calibration_error(scores.confidence, is_correct):.4f} with temperature {temperature}")
    print(f"AUROC of raw_prob for being right: {ranking_quality(scores.raw_prob, is_correct):.3f}")
    print(f"label mass: mean {scores.label_mass.mean():.4f}, least {scores.label_mass.min():.4f}")
    for threshold in (0.5, 0.8, 0.9, 0.95, 0.99):
        sure = scores.raw_prob >= threshold
        kept = f"{is_correct[sure].mean():.4f}" if sure.any() else "-"
        print(f"raw_prob >= {threshold}: {sure.mean():.3f} of the documents, accuracy {kept}")


def _compare_with_torch(
    model: ResolvedModel, tokens: tuple[TokenFrame, list[list[int]]], log_probs: Floats, count: int
) -> None:
    """The same documents through transformers in float32: engine and training must mean the same network."""
    from transformers import Qwen3ForCausalLM

    from sample_data.starter_training.network import predict
    from sample_data.starter_training.tokens import FrameIds

    frame, documents = tokens
    network = Qwen3ForCausalLM.from_pretrained(model.weights, dtype="float32")
    expected = predict(network, documents[:count], FrameIds(frame.prefix, frame.suffix, frame.codes)).numpy()
    apart = np.abs(np.exp(expected) - np.exp(log_probs[:count]))
    same = (expected.argmax(axis=1) == log_probs[:count].argmax(axis=1)).mean()
    print(
        f"against transformers in float32, {count} documents: probabilities at most {apart.max():.4f} apart, ", end=""
    )
    print(f"the same answer for {same:.0%}")


if __name__ == "__main__":
    main()
