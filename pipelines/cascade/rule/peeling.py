"""Which items come off the pool first: the order is learnt on the way, from what has come off.

Few labels of a pilot say little of where the engine errs. The certifying sample says much more, and may be used: the
labels of drawn items that have come off may set the order of those that are left, since they say nothing of who was
drawn among these (see `strikes`).
"""

from __future__ import annotations

import numpy as np

from pipelines.cascade.rule.doubt import IntArray
from pipelines.cascade.rule.history import History

# Of what is left, by one curve. A third of it finds no better order; one order for all keeps 0.4 points less.
_PART = 0.1


def peel(history: History, pool: IntArray, pilot: IntArray, strikes: int) -> IntArray:
    """What is left of the pool, least doubtful first, once it holds no more than so many strikes.

    Args:
        history: of which all items of the pool with a label were drawn.
        pool: item numbers.
        pilot: items outside of it that carry labels.
        strikes: drawn ones that are wrong.
    """
    left, shown = pool, pilot
    while True:
        left = history.by_doubt(left, history.curve_of(shown))
        places = np.flatnonzero(history.is_wrong(left))
        if len(places) <= strikes:
            return left
        end = min(int((1 - _PART) * len(left)), len(left) - 1)
        if places[strikes] >= end:
            return left[: places[strikes]]
        left, off = left[:end], left[end:]
        shown = np.r_[shown, off[history.is_known[off]]]
