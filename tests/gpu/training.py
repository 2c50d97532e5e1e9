"""Training an adapter on a GPU: that it learns there, seconds a step and memory at full size.

``python -m tests.gpu.training``. The starter model, whose weights are in the repository, learns which token stands in a
document; Qwen3-8B of random weights takes the time that a real one takes.
"""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.gpu.shapes import write_shape
from workers.adapting import network as networks
from workers.adapting.examples import Example, OrderedFrame
from workers.adapting.training import TrainingPlan, train
from workers.engines.tokens import TokenFrame

_STARTER = Path(__file__).parents[2] / "sample_data" / "starter_model"
_LABELS = 8
_KEPT_GIB = (8, 32, 64)


def _examples(random: np.random.Generator, count: int, tokens: int, vocabulary: int) -> list[Example]:
    """Documents of random tokens; every fourth is the label's own."""
    found = []
    for _ in range(count):
        label = int(random.integers(_LABELS))
        ids = random.integers(100, vocabulary, int(random.integers(tokens // 2, tokens * 3 // 2)), dtype=np.int32)
        ids[::4] = 50 + label
        found.append(Example(ids, label))
    return found


def _frame(random: np.random.Generator, tokens: int) -> OrderedFrame:
    ids = random.integers(100, 1_000, tokens).tolist()
    return OrderedFrame(
        TokenFrame(tuple(ids[:-10]), tuple(ids[-10:]), tuple(range(32, 32 + _LABELS))), (*range(_LABELS),)
    )


def _learns(random: np.random.Generator) -> None:
    network = AutoModelForCausalLM.from_pretrained(_STARTER, dtype=torch.bfloat16).to(networks.device())
    frame, examples = _frame(random, 100), _examples(random, 320, 100, 2_000)
    held_back = _examples(random, 100, 100, 2_000)

    def right(trained: Any) -> float:
        scores = networks.score(trained, frame, [each.tokens for each in held_back])
        return float(np.mean(scores.argmax(axis=1) == [each.label for each in held_back]))

    before = right(network)
    width = network.config.get_text_config().hidden_size
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        plan = TrainingPlan.for_width(width, seed=0)
        adapted = train(network, examples, [frame], [], plan, Path(folder))
        seconds = time.perf_counter() - started
        what = f"{plan.steps(len(examples))} steps, {seconds:.1f} s"
        print(f"starter model: {before:.0%} right before, {right(adapted):.0%} after {what}", flush=True)


def _full_size(random: np.random.Generator) -> None:
    folder = write_shape("Qwen3-8B", Path(tempfile.mkdtemp()))
    config = AutoConfig.from_pretrained(folder)
    torch.set_default_device(networks.device())
    torch.set_default_dtype(torch.bfloat16)
    network = AutoModelForCausalLM.from_config(config)
    torch.set_default_device("cpu")
    torch.set_default_dtype(torch.float32)
    frame = _frame(random, 300)
    for kept in _KEPT_GIB:
        networks._MOST_KEPT_BYTES["cuda"] = kept * 2**30
        examples = _examples(random, 64, 300, 100_000)
        torch.cuda.reset_peak_memory_stats()
        times: list[float] = []

        def on_step(_: int, times: list[float] = times) -> None:
            times.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as checkpoints:
            plan = TrainingPlan(epochs=1, learning_rate=5e-4)
            adapted = train(network, examples, [frame], [], plan, Path(checkpoints), on_step)
            network = adapted.unload()
        peak = torch.cuda.max_memory_allocated() / 2**30
        steps = ", ".join(f"{after - before:.2f}" for before, after in pairwise(times))
        print(
            f"Qwen3-8B, {kept} GiB kept: seconds a step of {plan.batch} documents {steps}; peak {peak:.0f} GiB",
            flush=True,
        )


def main() -> None:
    """Run both, print."""
    random = np.random.default_rng(20261128)
    _learns(random)
    if torch.cuda.is_available():
        _full_size(random)


if __name__ == "__main__":
    main()
