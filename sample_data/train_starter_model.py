"""Train the starter model: `python -m sample_data.train_starter_model --out sample_data/starter_model`.

Needs torch and transformers (they come with vLLM); half an hour on two cores. Seeded, but other CPUs
and thread counts round differently. Reads the train split only, never the held-out tickets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from sample_data.small_model import save_calibration, save_network
from sample_data.starter_training import measures, tickets
from sample_data.starter_training.fitting import FIRST_PLAN, SECOND_PLAN, Example, train
from sample_data.starter_training.holdback import split_for_calibration
from sample_data.starter_training.network import build_network, deepen, predict
from sample_data.starter_training.tokens import (
    FrameIds,
    document_ids,
    frame_ids,
    production_frame,
    save_tokenizer,
    train_tokenizer,
)


def main() -> None:
    """Parse the command line and make the model."""
    parser = argparse.ArgumentParser(description="Train the starter model on the sample tickets.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model into")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    make_model(options.out, options.seed)


def make_model(out: Path, seed: int) -> None:
    """Tokenizer, network, temperature: each fitted on its part of the train split and written to ``out``."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    labels = tickets.read_labels()
    train_part, calibration_part = split_for_calibration(tickets.read_train_split(), seed)
    frame = production_frame(labels)
    tokenizer = train_tokenizer([ticket.text for ticket in train_part], frame)
    ids = frame_ids(tokenizer, frame)
    print(f"{len(train_part)} tickets to train on, {len(calibration_part)} for the temperature")
    print(f"{tokenizer.get_vocab_size()} tokens; the prompt takes {len(ids.before)} + {len(ids.after)} of them")
    examples = _examples(train_part, labels)
    shallow = build_network()
    train(shallow, tokenizer, labels, examples, FIRST_PLAN, seed)
    network = deepen(shallow)
    print(f"{sum(weight.numel() for weight in network.parameters()):,} parameters")
    train(network, tokenizer, labels, examples, SECOND_PLAN, seed)
    save_tokenizer(tokenizer, out)
    epochs = FIRST_PLAN.epochs + SECOND_PLAN.epochs
    save_network(network, out, {"train_split_sha256": tickets.train_split_hash(), "seed": seed, "epochs": epochs})
    temperature = _fit_temperature(network, tokenizer, ids, _examples(calibration_part, labels))
    save_calibration(out, frame, list(labels), temperature, len(calibration_part))


def _examples(part: list[tickets.Ticket], labels: dict[str, str]) -> list[Example]:
    places = {name: place for place, name in enumerate(labels)}
    return [Example(ticket.text, places[ticket.label]) for ticket in part]


def _fit_temperature(
    network: Qwen3ForCausalLM, tokenizer: Tokenizer, frame: FrameIds, examples: list[Example]
) -> float:
    """Fit on the weights as written (rounded to bfloat16), computed in float32."""
    network.to(torch.float32)
    documents = document_ids(tokenizer, [example.text for example in examples], frame.room)
    log_probs = predict(network, documents, frame).double().numpy()
    gold = np.array([example.label for example in examples])
    temperature = measures.fit_temperature(log_probs, gold)
    accuracy = (log_probs.argmax(axis=1) == gold).mean()
    print(f"calibration part: accuracy {accuracy:.3f}, temperature {temperature:.3f}")
    return temperature


if __name__ == "__main__":
    main()
