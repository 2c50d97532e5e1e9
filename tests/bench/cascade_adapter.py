"""The rule behind the call that benchmarks of cascades make: a method asks an oracle, and returns its rounds.

    method(conf, ask, target, delta, rng, cls=None) -> rounds

``ask(items)`` gives 1.0 for each item whose answer is wrong. Put this folder and the project's on PYTHONPATH and name
`cascade_adapter.target` to such a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.cascade.rule.scored import UNASKED, Scored
from pipelines.cascade.rule.target import Target, target_steps


def target(
    conf: NDArray[np.float64],
    ask: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    target: float,
    delta: float,
    rng: np.random.Generator,
    cls: NDArray[np.int64] | None = None,
) -> int:
    """Ask until the rule has what it needs; the number of message batches."""
    answer = np.zeros(len(conf), np.int64) if cls is None else cls
    scored = Scored(conf, answer, seed=int(rng.integers(2**63)))
    labels = np.full(len(conf), UNASKED, np.int8)
    rounds = 0
    for batch in target_steps(scored, Target(target, 1 - delta), labels):
        labels[batch.items] = ask(batch.items)
        rounds = batch.round
    return rounds
