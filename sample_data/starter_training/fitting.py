"""The training loop: seeded batches of alike length, one pass of AdamW with a cosine schedule.

Two plans follow one another: what the documents are about, with the labels in one order; then to look up, in any
order, which letter that has.

In: texts with the index of their label. Out: the network, trained in place. Knows nothing of files.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from sample_data.starter_training.augment import lengthen, name_label, roughen
from sample_data.starter_training.network import TopicHead, make_batch, training_losses
from sample_data.starter_training.tickets import reordered
from sample_data.starter_training.tokens import document_ids, frame_ids, production_frame

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
    """How long and how hard to train; the defaults are those of the first part."""

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
    # Whether the labels come in another order in every batch, and with how many documents that say their label in the
    # prompt's own words.
    is_shuffled: bool = False
    named_rows: int = 0

    def steps_per_epoch(self, examples: int) -> int:
        """Ordinary batches and the long ones between them."""
        ordinary = math.ceil(examples / self.rows)
        return ordinary + ordinary // self.long_every


FIRST_PLAN = Plan()
SECOND_PLAN = Plan(learning_rate=1.5e-3, is_shuffled=True, named_rows=8)


def train(
    network: Qwen3ForCausalLM,
    tokenizer: Tokenizer,
    labels: Mapping[str, str],
    examples: Sequence[Example],
    plan: Plan,
    seed: int,
) -> None:
    """Run the plan; prints the losses as it goes."""
    generator = random.Random(seed)
    steps = plan.epochs * plan.steps_per_epoch(len(examples))
    given = range(len(labels))
    topic_head = TopicHead(network, frame_ids(tokenizer, production_frame(labels)).codes)
    optimizer = torch.optim.AdamW(
        [*network.parameters(), *topic_head.parameters()],
        lr=plan.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=plan.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, plan.warmup_share))
    started, recent = time.monotonic(), list[dict[str, float]]()
    network.train()
    for step, (documents, places) in enumerate(_batches(tokenizer, labels, examples, plan, generator), start=1):
        order = generator.sample(given, len(given)) if plan.is_shuffled else given
        frame = frame_ids(tokenizer, production_frame(reordered(labels, order)))
        # The arithmetic in which the model is served; the weights themselves stay float32 while they are fitted.
        with torch.autocast("cpu", torch.bfloat16):
            batch = make_batch(documents, frame)
            losses = training_losses(network, topic_head, batch, torch.tensor(places), order, frame)
        optimizer.zero_grad()
        losses.total(plan.is_shuffled).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append({part.name: getattr(losses, part.name).item() for part in fields(losses)})
        if step % REPORT_STEPS == 0 or step == steps:
            means = "  ".join(f"{name} {sum(one[name] for one in recent) / len(recent):.3f}" for name in recent[0])
            print(f"step {step}/{steps}  {means}  {time.monotonic() - started:.0f} s", flush=True)
            recent.clear()


def _rate(step: int, steps: int, warmup_share: float) -> float:
    warmup = max(1, int(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2


def _batches(
    tokenizer: Tokenizer, labels: Mapping[str, str], examples: Sequence[Example], plan: Plan, generator: random.Random
) -> Iterator[tuple[list[list[int]], list[int]]]:
    """Ids and labels: every example once per epoch, freshly roughened, in batches of alike length and random order.

    To each batch come a few documents that say their label in the words of the prompt.
    """
    room = frame_ids(tokenizer, production_frame(labels)).room
    for _ in range(plan.epochs):
        documents = document_ids(tokenizer, [roughen(e.text, generator) for e in examples], plan.short_tokens)
        # A little noise on the length, so that the same documents do not always meet in the same batch.
        order = sorted(range(len(examples)), key=lambda place: len(documents[place]) * generator.uniform(0.9, 1.1))
        groups = [order[start : start + plan.rows] for start in range(0, len(order), plan.rows)]
        generator.shuffle(groups)
        for count, places in enumerate(groups, start=1):
            named = generator.choices(range(len(labels)), k=plan.named_rows)
            texts = [name_label(*list(labels.items())[place], generator) for place in named]
            rows = [documents[place] for place in places] + document_ids(tokenizer, texts, plan.short_tokens)
            yield rows, [examples[place].label for place in places] + named
            if count % plan.long_every == 0:
                chosen = generator.sample(examples, plan.long_rows)
                yield _long_documents(tokenizer, room, chosen, generator), [example.label for example in chosen]


def _long_documents(
    tokenizer: Tokenizer, room: int, examples: Sequence[Example], generator: random.Random
) -> list[list[int]]:
    """Texts repeated to a random length, at most what production would keep of them."""
    repeated = document_ids(tokenizer, [lengthen(example.text, LONG_COPIES) for example in examples], room)
    return [ids[: generator.randint(len(ids) // 4, len(ids))] for ids in repeated]
