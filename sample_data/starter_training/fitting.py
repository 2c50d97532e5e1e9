"""The training loop: seeded batches of alike length, one pass of AdamW with a cosine schedule.

In: texts with the index of their label. Out: the network, trained in place. Knows nothing of files.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen3ForCausalLM

from sample_data.starter_training.augment import lengthen, roughen
from sample_data.starter_training.network import Batch, make_batch, training_loss
from sample_data.starter_training.tokens import FrameIds, document_ids

REPORT_STEPS = 100
# Enough copies of a usual ticket to fill the context.
LONG_COPIES = 12


@dataclass(frozen=True, slots=True)
class Example:
    """A training text and the place of its label in the label order."""

    text: str
    label: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard to train; the defaults take ten to twenty minutes on two cores."""

    epochs: int = 3
    rows: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.05
    # Training looks at this many tokens of a document; the long rows below see the whole context.
    short_tokens: int = 448
    # Every so many steps a few documents are stretched to the context, or late positions stay untrained.
    long_every: int = 50
    long_rows: int = 3

    def steps_per_epoch(self, examples: int) -> int:
        """Ordinary batches and the long ones between them."""
        ordinary = math.ceil(examples / self.rows)
        return ordinary + ordinary // self.long_every


def train(
    network: Qwen3ForCausalLM, tokenizer: Tokenizer, frame: FrameIds, examples: Sequence[Example], plan: Plan, seed: int
) -> None:
    """Run the plan; prints the label loss as it goes."""
    generator = random.Random(seed)
    steps = plan.epochs * plan.steps_per_epoch(len(examples))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, plan.warmup_share))
    started, losses = time.monotonic(), []
    network.train()
    for step, (batch, answers) in enumerate(_batches(tokenizer, frame, examples, plan, generator), start=1):
        # The arithmetic in which the model is served; the weights themselves stay float32 while they are fitted.
        with torch.autocast("cpu", torch.bfloat16):
            loss, label_loss = training_loss(network, batch, answers, frame)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(label_loss.item())
        if step % REPORT_STEPS == 0 or step == steps:
            recent = losses[-REPORT_STEPS:]
            seconds = time.monotonic() - started
            print(f"step {step}/{steps}  label loss {sum(recent) / len(recent):.3f}  {seconds:.0f} s", flush=True)


def _rate(step: int, steps: int, warmup_share: float) -> float:
    warmup = max(1, int(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2


def _batches(
    tokenizer: Tokenizer, frame: FrameIds, examples: Sequence[Example], plan: Plan, generator: random.Random
) -> Iterator[tuple[Batch, Tensor]]:
    """Every example once per epoch, freshly roughened, in batches of alike length and random order."""
    for _ in range(plan.epochs):
        documents = document_ids(tokenizer, [roughen(e.text, generator) for e in examples], plan.short_tokens)
        # A little noise on the length, so that the same documents do not always meet in the same batch.
        order = sorted(range(len(examples)), key=lambda place: len(documents[place]) * generator.uniform(0.9, 1.1))
        groups = [order[start : start + plan.rows] for start in range(0, len(order), plan.rows)]
        generator.shuffle(groups)
        for count, places in enumerate(groups, start=1):
            yield _labelled([documents[place] for place in places], [examples[place] for place in places], frame)
            if count % plan.long_every == 0:
                chosen = generator.sample(examples, plan.long_rows)
                yield _labelled(_long_documents(tokenizer, frame, chosen, generator), chosen, frame)


def _labelled(rows: Sequence[Sequence[int]], examples: Sequence[Example], frame: FrameIds) -> tuple[Batch, Tensor]:
    return make_batch(rows, frame), torch.tensor([frame.codes[example.label] for example in examples])


def _long_documents(
    tokenizer: Tokenizer, frame: FrameIds, examples: Sequence[Example], generator: random.Random
) -> list[list[int]]:
    """Texts repeated to a random length, at most what production would keep of them."""
    repeated = document_ids(tokenizer, [lengthen(example.text, LONG_COPIES) for example in examples], frame.room)
    return [ids[: generator.randint(len(ids) // 4, len(ids))] for ids in repeated]
