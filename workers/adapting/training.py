"""Training an adapter: attention-only LoRA, by the probability of the right label's code at the answer's place.

In: a network, labelled examples, frames. Out: the network with the adapter in it. A process that is killed leaves its
last checkpoint; the same call goes on from there, with the batches that it would have had.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from pipelines.errors import JobError
from workers.adapting.examples import Batch, Example, OrderedFrame, batches
from workers.adapting.network import answer_logits, in_parts, tokens_in_training

# Their names in all of Qwen, Llama, Mistral, Gemma and their kin.
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_CHECKPOINT = "checkpoint.pt"
# Tried on the starter model; by the root of the width it is 5e-4 at 4,096, where others train adapters.
_RATE, _RATE_WIDTH = 2e-3, 256


@dataclass(frozen=True)
class TrainingPlan:
    """How it is trained; on the card, and part of what a checkpoint is of."""

    seed: int = 0
    rank: int = 16
    alpha: int = 32
    epochs: int = 4
    batch: int = 16
    learning_rate: float = 2e-3
    warmup_share: float = 0.05

    @classmethod
    def for_width(cls, hidden_size: int, seed: int) -> TrainingPlan:
        """For a network of this width: the wider, the smaller the steps."""
        return cls(seed=seed, learning_rate=round(_RATE * (_RATE_WIDTH / hidden_size) ** 0.5, 6))

    def steps(self, examples: int) -> int:
        """Batches in all."""
        return self.epochs * math.ceil(examples / self.batch)


def train(
    network: Any,
    examples: Sequence[Example],
    served: Sequence[OrderedFrame],
    shuffled: Sequence[OrderedFrame],
    plan: TrainingPlan,
    folder: Path,
    on_step: Callable[[int], None] = lambda _: None,
) -> PeftModel:
    """Train, or go on.

    Args:
        network: the base; changed in place.
        examples: labelled documents.
        served: the frames that the engine uses.
        shuffled: the same with the labels in other orders.
        plan: how.
        folder: for checkpoints; of this very training.
        on_step: called with the steps done, first with those that an earlier process did.

    Raises:
        JobError: the network has no attention that an adapter of ours fits.
    """
    names = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    targets = [name for name in _ATTENTION if name in names]
    if not targets:
        raise JobError(
            [f"model: its layers have no {', '.join(_ATTENTION)}; no adapter of ours fits this architecture"]
        )
    torch.manual_seed(plan.seed)
    adapted = get_peft_model(
        network, LoraConfig(r=plan.rank, lora_alpha=plan.alpha, target_modules=targets, task_type="CAUSAL_LM")
    )
    weights = [each for each in adapted.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=plan.learning_rate, weight_decay=0.0)
    done, saved_at = _restore(adapted, optimizer, plan, folder), time.monotonic()
    on_step(done)
    per_epoch, steps = math.ceil(len(examples) / plan.batch), plan.steps(len(examples))
    adapted.train()
    for epoch in range(done // per_epoch, plan.epochs):
        epoch_seed = plan.seed * 1_000 + epoch
        for number, batch in enumerate(batches(examples, served, shuffled, plan.batch, epoch_seed)):
            if epoch * per_epoch + number < done:
                continue
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * _rate(done, steps, plan.warmup_share)
            _step(adapted, batch, weights, optimizer)
            done += 1
            if time.monotonic() - saved_at > _SECONDS_BETWEEN_CHECKPOINTS or done == steps:
                _save(adapted, optimizer, done, plan, folder)
                saved_at = time.monotonic()
            on_step(done)
    return adapted


def _step(network: Any, batch: Batch, weights: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    documents = [example.tokens for example in batch.examples]
    wanted = [batch.frame.code(example.label) for example in batch.examples]
    optimizer.zero_grad()
    lengths = [len(tokens) + len(batch.frame.frame) for tokens in documents]
    for part in in_parts(lengths, tokens_in_training(network)):
        logits = answer_logits(network, batch.frame.frame, [documents[place] for place in part])
        targets = torch.tensor([wanted[place] for place in part], device=logits.device)
        # Over the whole vocabulary: the cross-entropy over the codes, and that the answer is one of them at all.
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / len(documents)
        loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()


def _rate(step: int, steps: int, warmup_share: float) -> float:
    warmup = max(1, int(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


def _save(network: PeftModel, optimizer: torch.optim.Optimizer, done: int, plan: TrainingPlan, folder: Path) -> None:
    state = {
        "plan": json.dumps(asdict(plan)),
        "done": done,
        "adapter": get_peft_model_state_dict(network),
        "optimizer": optimizer.state_dict(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f"{_CHECKPOINT}-{os.getpid()}"
    torch.save(state, staged)
    os.replace(staged, folder / _CHECKPOINT)  # whole or not at all


def _restore(network: PeftModel, optimizer: torch.optim.Optimizer, plan: TrainingPlan, folder: Path) -> int:
    """How many steps an earlier process did; its adapter and optimizer are then these."""
    path = folder / _CHECKPOINT
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["plan"] != json.dumps(asdict(plan)):
        return 0
    set_peft_model_state_dict(network, state["adapter"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["done"])


@contextmanager
def with_adapter(network: Any, folder: Path) -> Iterator[PeftModel]:
    """The network with a trained adapter; afterwards it is what it was."""
    adapted = PeftModel.from_pretrained(network, str(folder))
    try:
        yield adapted
    finally:
        adapted.unload()


def adapter_files(network: PeftModel, folder: Path) -> None:
    """Write the adapter as PEFT does, into a folder of its own."""
    network.save_pretrained(str(folder))
