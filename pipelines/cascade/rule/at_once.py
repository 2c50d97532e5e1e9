"""Whether a run is so small that asking everything at once is the cheapest way to keep its target.

Three message batches may take three days; one, in which all are asked but as many as may be wrong, keeps every promise,
whatever these are. What waiting would save is reckoned before any label is bought, from the number of items and the
promise alone: with the curves that are thought likely of an engine nobody knows. The audit counts: what it asks of the
accepted ones is not saved.
"""

from __future__ import annotations

import numpy as np

from pipelines.cascade.rule.doubt import Doubt, IntArray, Seen
from pipelines.cascade.rule.scored import Scored
from pipelines.cascade.rule.strikes import can_certify, plan_strikes

_WORTH_THE_WAIT = 0.1  # of the items: for less, nobody waits for a second message batch
_FEW = 2_000  # of more, even a tenth is many requests


def is_worth_waiting(scored: Scored, pilot: IntArray, budget: int, delta: float, audit_items: int) -> bool:
    """Whether learning and certifying first leaves clearly fewer items to ask than asking at once.

    Args:
        scored: the run's items.
        pilot: those that would be asked first.
        budget: wrong answers that may remain.
        delta: the chance allowed that more remain.
        audit_items: accepted items that are asked in the end.
    """
    items = len(scored)
    if not can_certify(items, budget, delta):
        return False
    if items > _FEW:
        return True
    pool = np.setdiff1d(scored.order, pilot, assume_unique=True)
    rank, nobody_knows = np.sort(scored.rank[pool]), np.zeros(len(pool), np.int64)
    plan = plan_strikes(Doubt.fit(Seen.none(), 1), rank, nobody_knows, budget, delta, scored.generator("at once"))
    kept = max(len(pool) - plan.asked - audit_items, 0)
    return kept - max(budget - audit_items, 0) >= _WORTH_THE_WAIT * items
