"""Measure what the order of the labels does to the starter model: `python -m sample_data.measure_label_order`.

Scores the held-out tickets through the product's vLLM engine with the labels as given, reversed and alphabetical;
`seeded` and `averaged` are made of the first two by the product's own functions. Prints two Markdown tables: how good
the answers are in each order, and position bias: how often each place of the list is answered against how often it is
right.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.cascade.confidence import read_scores
from pipelines.job.sections import ModelSource
from pipelines.tasks.label_order import mean_logprobs, reads_reversed
from sample_data.evaluate_starter_model import MODEL, HeldOut, read_heldout
from sample_data.starter_training import tickets
from sample_data.starter_training.measures import Floats, Ints, calibration_error, ranking_quality
from sample_data.starter_training.tokens import production_frame
from workers.engines.catalogue import ResolvedModel, catalogue, resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.tokens import ModelTokenizer, context_length

# Of shape [documents, labels], as the engine gives them.
Logprobs = NDArray[np.float32]

GIVEN, REVERSED, ALPHABETICAL = "given", "reversed", "alphabetical"


@dataclass(frozen=True)
class PositionBias:
    """Of one order, by place in the list of labels."""

    answered: Floats  # share of the answers
    gold: Floats  # share of the right answers

    @property
    def total_variation(self) -> float:
        """The share of answers that would have to move for every place to be answered as often as it is right."""
        return float(np.abs(self.answered - self.gold).sum() / 2)


def main() -> None:
    """Score the held-out tickets in every order and print the measures."""
    parser = argparse.ArgumentParser(description="Measure what the order of the labels does to the starter model.")
    parser.add_argument("--tickets", type=Path, default=tickets.TICKETS, help="folder with heldout/ and gold.csv")
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of the model")
    options = parser.parse_args()
    labels = tickets.read_labels()
    documents = read_heldout(options.tickets)
    model = resolve_model(ModelSource(source=str(options.model.resolve())))
    names = list(labels)
    scored = score_in_orders(model, labels, documents, orders_of(names))
    gold = np.array([names.index(document.label) for document in documents])
    both = combined(scored[GIVEN], scored[REVERSED])
    print_quality({GIVEN: scored[GIVEN], REVERSED: scored[REVERSED], **both, ALPHABETICAL: scored[ALPHABETICAL]}, gold)
    print_position_bias(scored, gold, names)


def orders_of(names: Sequence[str]) -> dict[str, list[str]]:
    """The labels as each prompt lists them."""
    return {GIVEN: list(names), REVERSED: list(reversed(names)), ALPHABETICAL: sorted(names)}


def score_in_orders(
    model: ResolvedModel,
    labels: Mapping[str, str | None],
    documents: Sequence[HeldOut],
    orders: Mapping[str, Sequence[str]],
) -> dict[str, Logprobs]:
    """Log-probabilities by each order; the columns are always in the order of ``labels``."""
    tokenizer = ModelTokenizer(model)
    frames = {
        order: tokenizer.encode_frame(production_frame({name: labels[name] for name in names}))
        for order, names in orders.items()
    }
    room = context_length(model) - max(map(len, frames.values())) - 1
    texts = [document.text for document in documents]
    prompts = [np.array(ids[:room], np.int32) for ids in tokenizer.encode_documents(texts)]
    device = catalogue().devices["cpu"]
    os.environ.update(device.environment)  # before the engine imports vLLM
    engine = LabelEngine(model.weights, {**device.engine, **model.engine}, frames[GIVEN])
    scored = {order: engine.score(prompts, frame).result().label_logprobs for order, frame in frames.items()}
    engine.close()
    return {order: logprobs[:, [orders[order].index(name) for name in labels]] for order, logprobs in scored.items()}


def combined(given: Logprobs, turned: Logprobs) -> dict[str, Logprobs]:
    """What `label_order` makes of both orders; the hash of a document's number stands for that of its item id."""
    is_reversed = reads_reversed([str(number) for number in range(len(given))])
    return {
        "seeded": np.where(is_reversed[:, None], turned, given),
        "averaged": mean_logprobs(given, turned),
    }


def print_quality(scored: Mapping[str, Logprobs], gold: Ints) -> None:
    """One row an order: how many answers are right, and how far the probabilities can be trusted."""
    print("| labels | accuracy | mean raw_prob | AUROC of raw_prob | ECE (15 bins) |\n|---|---|---|---|---|")
    for order, logprobs in scored.items():
        scores = read_scores(logprobs.astype(np.float64), None)
        is_right = scores.answer == gold
        ranking = ranking_quality(scores.raw_prob, is_right)
        shown = "-" if ranking is None else f"{ranking:.3f}"
        error = calibration_error(scores.raw_prob, is_right)
        print(f"| {order} | {is_right.mean():.3f} | {scores.raw_prob.mean():.3f} | {shown} | {error:.4f} |")


def print_position_bias(scored: Mapping[str, Logprobs], gold: Ints, names: Sequence[str]) -> None:
    """How often each place is answered, as given and reversed, and how many answers turn with the order."""
    straight = scored[GIVEN].argmax(axis=1)
    turned = scored[REVERSED].argmax(axis=1)
    last = len(names) - 1
    given = position_bias(straight, gold, len(names))
    reverse = position_bias(last - turned, last - gold, len(names))
    print("\n| place | given: answered | right | reversed: answered | right |\n|---|---|---|---|---|")
    for place, shares in enumerate(zip(given.answered, given.gold, reverse.answered, reverse.gold, strict=True)):
        print(f"| {place + 1} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")
    print(f"\ntotal variation: {given.total_variation:.4f} given, {reverse.total_variation:.4f} reversed")
    changed = int((straight != turned).sum())
    print(f"other answer when the order is reversed: {changed} of {len(gold)} documents ({changed / len(gold):.1%})")


def position_bias(answer_places: Ints, gold_places: Ints, count: int) -> PositionBias:
    """Shares by place; both arrays hold a place, from 0, for each document."""
    answered, gold = (np.bincount(places, minlength=count) / len(places) for places in (answer_places, gold_places))
    return PositionBias(answered, gold)


if __name__ == "__main__":
    main()
