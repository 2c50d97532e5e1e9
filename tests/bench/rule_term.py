"""What a term of small runs asks, and whether its promise holds after every one of them: drawn from the sample tickets.

    python -m tests.bench.rule_term [--draws 25] [--term 5000] [--hostile]

The tickets are scored once by real vLLM; Claude's answers are the gold labels, wrong in three of a hundred. Each run is
a hundred of them, drawn with replacement, and is given what the ones before it have taught.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from flows.deciding.decisions import taught_by
from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.doubt import BoolArray, IntArray, Seen
from pipelines.cascade.rule.earlier import count_labels
from pipelines.cascade.rule.history import Ask
from pipelines.cascade.rule.scored import UNASKED, Labels, Scored
from pipelines.cascade.rule.strike_limits import Counted, Standing
from pipelines.cascade.rule.target import Target
from pipelines.cascade.rule.term import Term, count_run, term_steps
from tests.bench.quality import TARGETS, score_once
from tests.bench.rule_series import Items, read_items

ITEMS = 100  # of a run
ASSURANCE = 0.95
# How the engine errs besides, of the share of a term that is over: what may happen in a year.
HOSTILE: dict[str, Callable[[float], float]] = {
    "as they are": lambda share: 0.0,
    "documents that get worse": lambda share: 0.3 * share,
    "an engine that changes": lambda share: 0.35 * (share >= 0.4),
    "an engine that was bad": lambda share: 0.35 * (share < 0.4),
}


@dataclass(frozen=True)
class Drawn:
    """One term: arrays of shape [runs], and whether no run of it ever left more wrong than may stay."""

    asked: list[float]
    batches: list[int]
    is_kept: bool


def run_term(items: Items, term: Term, kind: str, seed: int) -> Drawn:
    """To its end."""
    files = term.items // ITEMS
    random, standing, earlier = np.random.default_rng([seed, 5]), Standing(), list[Seen]()
    asked, batches, wrong, is_kept = [], [], 0, True
    for number in range(files):
        some = items.some(random.choice(len(items.answer), ITEMS))
        is_wrong = some.is_wrong | (random.random(ITEMS) < HOSTILE[kind](number / files))
        scored = Scored(some.confidence, some.answer, 1000 * seed + number, tuple(earlier))
        labels: Labels = np.full(ITEMS, UNASKED, np.int8)
        counted: list[Counted] = []
        asks: list[Ask] = []
        for ask in term_steps(scored, term, standing, partial(_count, counted, term, standing), labels):
            labels[ask.items] = is_wrong[ask.items]
            asks.append(ask)
        standing, is_accepted = counted[0].after, labels == UNASKED
        wrong += int(is_wrong[is_accepted].sum())
        is_kept &= wrong <= allowed_wrong(standing.items, term.promise.target)
        asked.append(1 - float(is_accepted.mean()))
        batches.append(len(asks))
        earlier.insert(0, count_labels(scored, labels, taught_by(scored, asks)))
    return Drawn(asked, batches, is_kept)


def _count(counted: list[Counted], term: Term, standing: Standing, is_strike: BoolArray) -> Counted:
    counted.append(count_run(term, standing, ITEMS, is_strike))
    return counted[-1]


def show(name: str, terms: list[Drawn]) -> None:
    """The means, by the part of the term."""
    asked: IntArray = np.array([term.asked for term in terms])
    parts = [f"{part.mean():5.1%}" for part in np.array_split(asked, 5, axis=1)]
    batches = np.mean([term.batches for term in terms])
    kept = np.mean([term.is_kept for term in terms])
    print(
        f"{name:<44} asked {asked.mean():5.1%} (by fifths of the term {', '.join(parts)}); "
        f"batches {batches:.2f}; kept at every file by {kept:.1%} of {len(terms)}",
        flush=True,
    )


def measure(items: Items, draws: int, size: int, kinds: list[str]) -> None:
    """Every target and kind."""
    for target in TARGETS:
        term = Term(Target(target, ASSURANCE), size)
        for kind in kinds:
            show(f"target {target:.2f}, {kind}", [run_term(items, term, kind, seed) for seed in range(draws)])


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=25)
    parser.add_argument("--term", type=int, default=5_000, help="items of a term")
    parser.add_argument("--hostile", action="store_true", help="also with documents and engines that change")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        items = read_items(score_once(Path(name)))
    kinds = list(HOSTILE) if arguments.hostile else ["as they are"]
    measure(items, arguments.draws, arguments.term, kinds)


if __name__ == "__main__":
    main()
