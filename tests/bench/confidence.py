"""How true a run's confidence is of the documents that it bought no label of: by the temperature alone, and corrected.

    python -m tests.bench.confidence [--draws 30]

Made-up engines that are twice too sure, one that likes all labels alike and one with favourites; then the sample
tickets, scored once by real vLLM, where Claude's answers are the gold labels, wrong in three of a hundred.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flows.deciding.population import read_scored_shard
from flows.stages.planning import PlanSummary
from pipelines.cascade.answer_offsets import log_loss
from pipelines.cascade.calibration import (
    FloatArray,
    IntArray,
    calibrated_confidence,
    fit_temperature,
    measure_reliability,
)
from pipelines.cascade.confidence import softmax
from pipelines.cascade.rule.scored import UNASKED, Labels, Scored
from pipelines.cascade.rule.target import Target, target_steps
from pipelines.store import layout
from tests.bench.quality import TARGETS, score_once
from tests.bench.rule_series import read_items

ASSURANCE = 0.95
MADE_UP, LABELS = 3_000, 10

Made = Callable[[int], tuple[FloatArray, IntArray]]  # of a seed: label log-probabilities, and Claude's answers


def made_up(favour: float) -> Made:
    """Log-odds of labels off by ``favour`` (standard deviation), the same for every document."""
    favours = np.random.default_rng(4).normal(0, favour, LABELS)

    def make(seed: int) -> tuple[FloatArray, IntArray]:
        random = np.random.default_rng([seed, 9])
        logits = random.normal(0, 3, (MADE_UP, LABELS))
        claude = (random.random(MADE_UP)[:, None] > np.cumsum(softmax(logits), axis=1)).sum(axis=1)
        return np.log(softmax(2 * (logits + favours))), np.minimum(claude, LABELS - 1)

    return make


def tickets(folder: Path) -> Made:
    run = score_once(folder)
    plan = PlanSummary.model_validate_json(run.store.read(layout.PLAN_COMPLETE))
    shards = [read_scored_shard(run, shard) for shard in range(plan.shards)]
    logprobs, items = np.concatenate([shard.logprobs for shard in shards]), read_items(run)
    return lambda seed: (logprobs, items.claude)


def losses(confidence: FloatArray, is_right: np.ndarray) -> tuple[float, float, float]:
    """Log loss, Brier score and calibration error."""
    found = measure_reliability(confidence, is_right)
    return float(log_loss(confidence, is_right).mean()), found.brier, found.expected_calibration_error


def measure(name: str, make: Made, target: float, draws: int) -> None:
    """The means over runs that differ in their luck."""
    told, taken = [], 0
    for seed in range(draws):
        logprobs, claude = make(seed)
        answer, is_right = logprobs.argmax(axis=1), logprobs.argmax(axis=1) == claude
        scored = Scored(np.exp(logprobs).max(axis=1), answer, seed)
        labels: Labels = np.full(len(claude), UNASKED, np.int8)
        weight = np.zeros(len(claude))
        for ask in target_steps(scored, Target(target, ASSURANCE), labels):
            labels[ask.items] = ~is_right[ask.items]
            if ask.stage != "escalate":
                weight[ask.items] = ask.weights
        bought = weight > 0
        fitted = fit_temperature(logprobs[bought], claude[bought], seed, weight[bought])
        assert fitted.temperature is not None
        taken += fitted.by_answer is not None
        told.append(
            [
                losses(calibrated_confidence(logprobs[~bought], fitted.temperature, by_answer), is_right[~bought])
                for by_answer in (None, fitted.by_answer)
            ]
        )
    alone, both = np.mean(told, axis=0)
    worse = np.mean([each[1][0] > each[0][0] + 1e-9 for each in told])
    print(
        f"{name}, target {target:.2f}: log loss {alone[0]:.3f} -> {both[0]:.3f}, Brier "
        f"{alone[1]:.4f} -> {both[1]:.4f}, "
        f"calibration error {alone[2]:.3f} -> {both[2]:.3f}; taken in {taken} of {draws}, to the worse in {worse:.0%}",
        flush=True,
    )


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=30)
    draws = parser.parse_args().draws
    for favour, name in ((0.0, "made up, no favourites"), (1.0, "made up, favourites")):
        measure(name, made_up(favour), 0.9, draws)
    with tempfile.TemporaryDirectory() as folder:
        made = tickets(Path(folder))
    for target in TARGETS:
        measure("tickets", made, target, draws)


if __name__ == "__main__":
    main()
