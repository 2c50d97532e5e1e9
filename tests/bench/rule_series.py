"""What the rule asks in a series of runs, and in small ones: drawn from the tickets of one real run, without a service.

    python -m tests.bench.rule_series [--draws 25] [--alone 100]

The tickets are scored once by real vLLM; Claude's answers are the gold labels, wrong in three of a hundred. Each run
of a series is as many tickets, drawn with replacement, and is given what the ones before it have taught. A run alone is
the tickets themselves, each time with other luck.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.deciding.decisions import taught_by
from flows.deciding.population import read_population
from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.doubt import BoolArray, FloatArray, IntArray, Seen
from pipelines.cascade.rule.earlier import count_labels
from pipelines.cascade.rule.history import Ask
from pipelines.cascade.rule.scored import UNASKED, Labels, Scored
from pipelines.cascade.rule.target import Target, target_steps
from pipelines.store import layout
from pipelines.store.schemas import from_arrow
from tests.bench.quality import ASSURANCE, ERROR_RATE, TARGETS, score_once

RUNS = 6  # of a series
AUDIT_ITEMS = 50  # as by default
SMALL = (50, 100, 150, 200, 300, 500, 1000)


@dataclass(frozen=True)
class Items:
    """What the engine says of the tickets, and what Claude would say; arrays of shape [items]."""

    confidence: FloatArray
    answer: IntArray
    claude: IntArray

    @property
    def is_wrong(self) -> BoolArray:
        return np.not_equal(self.answer, self.claude)

    def some(self, chosen: IntArray) -> Items:
        return Items(self.confidence[chosen], self.answer[chosen], self.claude[chosen])


@dataclass(frozen=True)
class Drawn:
    """One run."""

    asked: float  # the audit not counted
    with_audit: float
    batches: int
    is_kept: bool
    taught: Seen


def read_items(run: Run) -> Items:
    """Of a scored run."""
    plan = PlanSummary.model_validate_json(run.store.read(layout.PLAN_COMPLETE))
    population, names = read_population(run, plan), list(run.job.labels)
    parts = [
        from_arrow(run.store.read(layout.plan_part(shard)), ["item_id", "gold_label"]) for shard in range(plan.shards)
    ]
    known = pa.concat_tables(parts)
    gold = known["gold_label"].take(pc.index_in(population.item_ids, value_set=known["item_id"].combine_chunks()))
    claude = pc.index_in(gold, value_set=pa.array(names)).to_numpy().astype(np.int64)
    random = np.random.default_rng(0)
    errs = random.random(len(claude)) < ERROR_RATE
    claude[errs] = (claude[errs] + random.integers(1, len(names), int(errs.sum()))) % len(names)
    scored = population.scored
    return Items(scored.confidence, scored.answer, claude)


def run_once(items: Items, promise: Target, seed: int, earlier: Sequence[Seen] = ()) -> Drawn:
    """To its end."""
    scored = Scored(items.confidence, items.answer, seed, tuple(earlier))
    labels: Labels = np.full(len(scored), UNASKED, np.int8)
    asks: list[Ask] = []
    for ask in target_steps(scored, promise, labels):
        labels[ask.items] = items.is_wrong[ask.items]
        asks.append(ask)
    is_accepted = labels == UNASKED
    kept = int(is_accepted.sum())
    return Drawn(
        asked=1 - kept / len(scored),
        with_audit=1 - max(kept - promise.audit_items, 0) / len(scored),
        batches=len(asks),
        is_kept=int(items.is_wrong[is_accepted].sum()) <= allowed_wrong(len(scored), promise.target),
        taught=count_labels(scored, labels, taught_by(scored, asks)),
    )


def show(name: str, runs: Sequence[Drawn]) -> None:
    """The means."""
    print(
        f"{name:<34} asked {np.mean([run.asked for run in runs]):5.1%}, with its audit "
        f"{np.mean([run.with_audit for run in runs]):5.1%}; batches {np.mean([run.batches for run in runs]):.2f}; "
        f"kept its target {np.mean([run.is_kept for run in runs]):.1%}",
        flush=True,
    )


def alone(items: Items, target: float, draws: int) -> None:
    """All the tickets, at two assurances."""
    for assurance in (0.95, 0.9):
        runs = [run_once(items, Target(target, assurance), seed) for seed in range(draws)]
        show(f"target {target:.2f}, {assurance:.0%} assurance, alone", runs)


def series(items: Items, target: float, draws: int) -> None:
    """By the number of the run in its series."""
    found: list[list[Drawn]] = [[] for _ in range(RUNS)]
    for seed in range(draws):
        random, earlier = np.random.default_rng([seed, 5]), list[Seen]()
        for number in range(RUNS):
            chosen = random.choice(len(items.answer), len(items.answer))
            run = run_once(items.some(chosen), Target(target, ASSURANCE), 100 * seed + number, earlier)
            found[number].append(run)
            earlier.insert(0, run.taught)
    for number, runs in enumerate(found):
        show(f"target {target:.2f}, run {number + 1} of a series", runs)


def small(items: Items, target: float, draws: int) -> None:
    """By the number of items."""
    for count in SMALL:
        runs = []
        for seed in range(draws):
            chosen = np.random.default_rng([seed, count]).choice(len(items.answer), count, replace=False)
            runs.append(run_once(items.some(chosen), Target(target, 0.95, AUDIT_ITEMS), seed))
        show(f"target {target:.2f}, {count} items", runs)


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=25)
    parser.add_argument("--alone", type=int, default=100, help="draws of a run alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        items = read_items(score_once(Path(name)))
    for target in TARGETS:
        alone(items, target, arguments.alone)
        series(items, target, arguments.draws)
        small(items, target, arguments.draws)


if __name__ == "__main__":
    main()
