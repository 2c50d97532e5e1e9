"""Train the review model: `python -m sample_data.train_code_review_model --out sample_data/review_model`.

Needs torch and transformers (they come with vLLM). Seeded, but other CPUs and thread counts round differently. Every
example is made afresh by the grammar of `code_source`; held-out words, pieces and files are never met.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, Qwen3ForCausalLM

from pipelines.tasks.code_review.prompts import claim_block
from pipelines.tasks.code_review.verification import CLAIM_LABELS
from sample_data.code_training.examples import Example, Row, make_example, make_rows
from sample_data.code_training.network import (
    LineHead,
    Losses,
    build_network,
    make_batch,
    training_losses,
    verdict_log_probs,
)
from sample_data.code_training.tokens import PromptIds, product_prompts, prompt_ids, train_tokenizer
from sample_data.generate_code import training_diffs
from sample_data.starter_training.measures import fit_temperature
from sample_data.starter_training.tokens import PAD_ID, TURN_END_ID, save_tokenizer

TOKENIZER_EXAMPLES = 1500
ROWS = 12
# Rows of alike length are batched together, out of this many at a time.
POOL_ROWS = ROWS * 16
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
    parser.add_argument("--minutes", type=float, default=90, help="how long to train; the rates follow the clock")
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
    save_calibration(network, tokenizer, prompts, options.out, options.seed)


def _examples(seed: int) -> Iterator[Example]:
    generator = random.Random(f"examples {seed}")
    return (make_example(generator, diff) for diff in training_diffs(seed))


def _tokenizer_texts(seed: int) -> list[str]:
    examples = itertools.islice(_examples(seed), TOKENIZER_EXAMPLES)
    return [
        text
        for example in examples
        for text in (example.code, example.answer, *(claim_block(claim.text) for claim in example.claims))
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
    recent: list[Losses] = []
    for step, rows in enumerate(_batches(tokenizer, prompts, seed), start=1):
        elapsed = time.monotonic() - started
        for optimizer, rate in zip(optimizers, (MUON_RATE, ADAM_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = rate * _share_of_rate(step, elapsed / seconds)
        with torch.autocast("cpu", torch.bfloat16):
            losses = training_losses(network, line_head, make_batch(prompts.before, rows), prompts.codes)
        network.zero_grad()
        line_head.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        recent.append(losses)
        is_last = elapsed >= seconds
        if step % REPORT_STEPS == 0 or is_last:
            print(f"step {step}  {_mean_losses(recent)}  {elapsed:.0f} s", flush=True)
            recent.clear()
        if is_last:
            break
    return step


def _mean_losses(losses: list[Losses]) -> str:
    parts = {name: [getattr(one, name).item() for one in losses] for name in ("answer", "verdict", "line", "code")}
    return "  ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in parts.items())


def _share_of_rate(step: int, progress: float) -> float:
    """Up in a few steps, level, and down to nearly nothing in the last part."""
    return min(1.0, step / WARMUP_STEPS, max(0.02, (1 - progress) / COOL_DOWN_SHARE))


def _batches(tokenizer: Tokenizer, prompts: PromptIds, seed: int) -> Iterator[list[Row]]:
    generator = random.Random(seed)
    examples = _examples(seed)
    while True:
        rows = list(make_rows(tokenizer, prompts, list(itertools.islice(examples, POOL_ROWS))))
        rows.sort(key=lambda row: len(row.code) + len(row.tails[0].ids))
        groups = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
        generator.shuffle(groups)
        yield from groups


def save_network(network: Qwen3ForCausalLM, out: Path, origin: dict[str, int]) -> None:
    """Write weights and config; ``origin`` says in the config how they were made."""
    network.to(torch.bfloat16)  # type: ignore[arg-type]
    network.config.training = origin
    network.generation_config = GenerationConfig(eos_token_id=TURN_END_ID, pad_token_id=PAD_ID)  # type: ignore[no-untyped-call]
    network.save_pretrained(out)


def save_calibration(network: Qwen3ForCausalLM, tokenizer: Tokenizer, prompts: PromptIds, out: Path, seed: int) -> None:
    """Fit the temperature of the verification on other diffs of the training grammar, with the weights as written."""
    network.to(torch.float32)  # type: ignore[arg-type]
    batches = itertools.islice(_batches(tokenizer, prompts, seed + CALIBRATION_SEED_STEP), CALIBRATION_BATCHES)
    pairs = [verdict_log_probs(network, make_batch(prompts.before, rows), prompts.codes) for rows in batches]
    log_probs = torch.cat([pair[0] for pair in pairs]).double().numpy()
    gold = torch.cat([pair[1] for pair in pairs]).numpy()
    calibration = {
        "method": "temperature",
        "temperature": round(fit_temperature(log_probs, gold), 4),
        "fitted_on": len(gold),
        "prompt_fingerprint": product_prompts()[1].fingerprint,
        "labels": list(CLAIM_LABELS),
        "model_sha256": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
    }
    accuracy = (log_probs.argmax(1) == gold).mean()
    print(f"{len(gold)} claims: {accuracy:.3f} right, temperature {calibration['temperature']}")
    (out / "calibration.json").write_text(json.dumps(calibration, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
