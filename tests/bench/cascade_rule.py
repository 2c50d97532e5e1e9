"""What the quality rule itself costs: seconds of one core and peak memory, for a run of many items.

    python -m tests.bench.cascade_rule [--items 1000000] [--answers 500]

Every message batch of a run is worked out anew from the scores and the labels so far, as a resumed run would. The
engine is made up: calibrated scores, answers of different difficulty.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import numpy as np

from pipelines.cascade.rule.budget import Reached, Spending, next_purchase
from pipelines.cascade.rule.scored import UNASKED, Labels, Scored
from pipelines.cascade.rule.target import Ask, Settled, Target, next_step


def make_run(items: int, answers: int) -> tuple[Scored, Labels]:
    """Scores and what Claude would say of each."""
    random = np.random.default_rng(8)
    confidence, answer = random.beta(9, 1, items), random.integers(0, answers, items)
    difficulty = random.lognormal(0, 0.7, answers)[answer]
    truth = (random.random(items) < (1 - confidence) * difficulty).astype(np.int8)
    return Scored(confidence, answer, seed=1), truth


def measure(name: str, scored: Scored, truth: Labels, mode: Target | Spending) -> None:
    """Run to the end and print each step."""
    labels, total = np.full(len(scored), UNASKED, np.int8), 0.0
    while True:
        started = time.process_time()
        fresh = Scored(scored.confidence, scored.answer, scored.seed)  # nothing cached by an earlier step
        step: Ask | Settled | Reached
        step = next_step(fresh, mode, labels) if isinstance(mode, Target) else next_purchase(fresh, mode, labels)
        seconds = time.process_time() - started
        total += seconds
        if not isinstance(step, Ask):
            break
        print(f"  {step.stage:<9} {len(step.items):>9,} items  {seconds:5.2f} s")
        labels[step.items] = truth[step.items]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kept, wrong = step.is_accepted.mean(), truth[step.is_accepted].sum() / len(scored)
    print(f"{name}: kept {kept:.1%}, agreement {1 - wrong:.4f}; all steps {total:.1f} s, peak memory {peak:.0f} MiB")


def main() -> None:
    """Measure both modes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--answers", type=int, default=500)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    scored, truth = make_run(arguments.items, arguments.answers)
    print(f"{arguments.items:,} items, {arguments.answers} answers, {truth.mean():.1%} wrong, one core")
    measure("target 0.95", scored, truth, Target(0.95, 0.95))
    spending = Spending(np.full(arguments.items, 0.001), budget_usd=arguments.items * 0.0001, assurance=0.95)
    measure("budget for a tenth", scored, truth, spending)


if __name__ == "__main__":
    main()
