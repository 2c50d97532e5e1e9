"""Whether a run is so small that asking everything at once is the cheapest way to keep its target.

Two message batches may take two days; one, in which all are asked but as many as may be wrong, keeps every promise,
whatever these are. What waiting would save is reckoned before any label is bought, from the number of items and the
promise alone: with the curves that are thought likely of an engine nobody knows. The audit counts: what it asks of the
accepted ones is not saved.
"""

from __future__ import annotations

import numpy as np

from pipelines.cascade.rule.doubt import Doubt, Seen
from pipelines.cascade.rule.strikes import can_certify, plan_strikes

_WORTH_THE_WAIT = 0.1  # of the items: for less, nobody waits for a second message batch
_FEW = 2_000  # of more, even a tenth is many requests


def is_worth_waiting(items: int, pilot: int, budget: int, delta: float, audit_items: int) -> bool:
    """Whether learning and certifying first leaves clearly fewer items to ask than asking at once.

    Args:
        items: of the run.
        pilot: how many would be asked only to learn from.
        budget: wrong answers that may remain.
        delta: the chance allowed that more remain.
        audit_items: accepted items that are asked in the end.
    """
    if not can_certify(items, budget, delta):
        return False
    if items > _FEW:
        return True
    pool = items - pilot
    rank, nobody_knows = (np.arange(pool) + 0.5) / items, np.zeros(pool, np.int64)  # the pilot is of the least sure
    chance = np.random.Generator(np.random.PCG64(items))  # of the simulations: the same for every run of as many items
    plan = plan_strikes([Doubt.fit(Seen.none(), 1)], rank, nobody_knows, budget, delta, chance)
    kept = max(pool - plan.asked - audit_items, 0)
    return kept - max(budget - audit_items, 0) >= _WORTH_THE_WAIT * items
