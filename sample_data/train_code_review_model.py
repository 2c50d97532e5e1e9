"""Train the review model: `python -m sample_data.train_code_review_model --out sample_data/review_model`.

Needs torch and transformers (they come with vLLM). Seeded, but other CPUs and thread counts round differently. Every
example is made afresh by the grammar of `code_source`; held-out words, pieces and files are never met.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from pipelines.tasks.code_review.prompts import claim_block
from pipelines.tasks.code_review.verification import CLAIM_LABELS
from sample_data.code_source.changes import make_new_file
from sample_data.code_training.examples import Example, Tokens, make_example, tokenise
from sample_data.code_training.network import (
    ROWS,
    LineHead,
    build_network,
    compiled,
    make_batch,
    pack,
    training_losses,
    verdict_log_probs,
)
from sample_data.code_training.tokens import PromptIds, product_prompts, prompt_ids, train_tokenizer
from sample_data.generate_code import training_diffs
from sample_data.small_model import save_calibration, save_network
from sample_data.starter_training.measures import fit_temperature
from sample_data.starter_training.tokens import save_tokenizer

TOKENIZER_EXAMPLES = 1500
# Rows are packed out of this many examples at a time.
POOL_EXAMPLES = 256
# Training begins with files full of faults and nothing asked, and goes over to diffs with all that is asked about them.
DENSE_UNTIL, LEAST_DENSE_SHARE = 0.4, 0.2
MUON_RATE, ADAM_RATE = 0.02, 3e-3
WARMUP_STEPS = 20
COOL_DOWN_SHARE = 0.4
REPORT_STEPS = 25
CALIBRATION_SEED_STEP = 1
CALIBRATION_BATCHES = 48


def main() -> None:
    """Parse the command line and make the model."""
    parser = argparse.ArgumentParser(description="Train the review model on made-up diffs.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model into")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=30, help="how long to train; the rates follow the clock")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(_tokenizer_texts(options.seed))
    prompts = prompt_ids(tokenizer)
    save_tokenizer(tokenizer, options.out)
    network = build_network()
    print(f"{sum(weight.numel() for weight in network.parameters()):,} parameters", flush=True)
    steps = train(network, tokenizer, prompts, options.minutes * 60, options.seed)
    save_network(network, options.out, {"seed": options.seed, "steps": steps, "rows": ROWS})
    calibrate(network, tokenizer, prompts, options.out, options.seed)


def _examples(seed: int, dense_share: Callable[[], float] = lambda: 0.0) -> Iterator[Example]:
    generator = random.Random(f"examples {seed}")
    diffs = training_diffs(seed)
    while True:
        if generator.random() < dense_share():
            yield make_example(generator, make_new_file(generator), has_questions=False)
        else:
            yield make_example(generator, next(diffs))


def _tokenizer_texts(seed: int) -> list[str]:
    examples = itertools.islice(_examples(seed), TOKENIZER_EXAMPLES)
    return [
        text
        for example in examples
        for text in (example.code, example.answer or "", *(claim_block(claim.text) for claim in example.claims))
    ]


def train(network: Qwen3ForCausalLM, tokenizer: Tokenizer, prompts: PromptIds, seconds: float, seed: int) -> int:
    """Train for so long, print the parts of the loss as it goes, and return the steps done."""
    line_head = LineHead()
    network.train()
    matrices = [weight for weight in network.model.layers.parameters() if weight.ndim == 2]
    others = [weight for weight in network.parameters() if all(weight is not matrix for matrix in matrices)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.02, adjust_lr_fn="original"),
        torch.optim.AdamW([*others, *line_head.parameters()], lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    started = time.monotonic()
    forward = compiled(network)
    recent: list[dict[str, float]] = []

    def dense_share() -> float:
        return max(LEAST_DENSE_SHARE, 1 - (time.monotonic() - started) / seconds / DENSE_UNTIL)

    for step, rows in enumerate(_batches(tokenizer, prompts, _examples(seed, dense_share), seed), start=1):
        elapsed = time.monotonic() - started
        for optimizer, rate in zip(optimizers, (MUON_RATE, ADAM_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = rate * _share_of_rate(step, elapsed / seconds)
        with torch.autocast("cpu", torch.bfloat16):
            losses = training_losses(network, forward, line_head, make_batch(prompts.before, rows), prompts.codes)
        network.zero_grad()
        line_head.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        recent.append({part.name: getattr(losses, part.name).item() for part in fields(losses)})
        is_last = elapsed >= seconds
        if step % REPORT_STEPS == 0 or is_last:
            means = "  ".join(f"{name} {sum(one[name] for one in recent) / len(recent):.3f}" for name in recent[0])
            print(f"step {step}  {means}  {elapsed:.0f} s", flush=True)
            recent.clear()
        if is_last:
            break
    return step


def _share_of_rate(step: int, progress: float) -> float:
    """Up in a few steps, level, and down to nearly nothing in the last part."""
    return min(1.0, step / WARMUP_STEPS, max(0.02, (1 - progress) / COOL_DOWN_SHARE))


def _batches(
    tokenizer: Tokenizer, prompts: PromptIds, examples: Iterator[Example], seed: int
) -> Iterator[list[list[Tokens]]]:
    """Rows full of examples, so many at a time; what fills no batch is left out."""
    generator = random.Random(seed)
    while True:
        pool = list(tokenise(tokenizer, prompts, list(itertools.islice(examples, POOL_EXAMPLES))))
        rows = pack(len(prompts.before), pool)
        generator.shuffle(rows)
        yield from (rows[start : start + ROWS] for start in range(0, len(rows) - ROWS + 1, ROWS))


def calibrate(network: Qwen3ForCausalLM, tokenizer: Tokenizer, prompts: PromptIds, out: Path, seed: int) -> None:
    """Fit the temperature of the verification on other diffs of the training grammar, with the weights as written."""
    network.to(torch.float32)
    examples = _examples(seed + CALIBRATION_SEED_STEP)
    batches = itertools.islice(_batches(tokenizer, prompts, examples, seed), CALIBRATION_BATCHES)
    pairs = [verdict_log_probs(network, make_batch(prompts.before, rows), prompts.codes) for rows in batches]
    log_probs = torch.cat([pair[0] for pair in pairs]).double().numpy()
    gold = torch.cat([pair[1] for pair in pairs]).numpy()
    temperature = fit_temperature(log_probs, gold)
    accuracy = (log_probs.argmax(1) == gold).mean()
    print(f"{len(gold)} claims: {accuracy:.3f} right, temperature {temperature:.4f}")
    save_calibration(out, product_prompts()[1], list(CLAIM_LABELS), temperature, len(gold))


if __name__ == "__main__":
    main()
