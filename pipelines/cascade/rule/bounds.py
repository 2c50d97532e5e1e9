"""Exact limits on the wrong items of a finite set, from items drawn uniformly and without replacement.

Nothing here is approximate in the statistics: the hypergeometric distribution is what drawing without replacement
does, for a set of any size and any number of wrong items in it. No scipy: this one tail is all that would be used.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

# lgamma of 10^8 is right to about 1e-6; tails are rounded up by more, so that no promise is broken by rounding.
_ROUNDED_UP = 1 + 1e-5


def allowed_wrong(items: int, target: float) -> int:
    """How many of ``items`` may differ when a share of ``target`` must agree; 0.9 means the decimal 0.9."""
    return math.floor((1 - Fraction(repr(target))) * items)


def lower_tail(seen_wrong: int, *, items: int, wrong: int, drawn: int) -> float:
    """P(at most ``seen_wrong`` wrong items among ``drawn`` of ``items``, ``wrong`` of which are wrong), rounded up."""
    least, most = max(0, drawn - (items - wrong)), min(wrong, drawn)
    if seen_wrong < least:
        return 0.0
    if seen_wrong >= most:
        return 1.0
    right = items - wrong
    if seen_wrong * items <= drawn * wrong:  # below the mean: the terms fall on the way down
        i = np.arange(seen_wrong, least, -1, dtype=np.float64)
        ratios = i * (right - drawn + i) / ((wrong - i + 1) * (drawn - i + 1))
        tail = _mass(seen_wrong, items, wrong, drawn) * (1 + np.cumprod(ratios).sum())
        return float(min(1.0, tail * _ROUNDED_UP))
    i = np.arange(seen_wrong + 1, most, dtype=np.float64)
    ratios = (wrong - i) * (drawn - i) / ((i + 1) * (right - drawn + i + 1))
    above = _mass(seen_wrong + 1, items, wrong, drawn) * (1 + np.cumprod(ratios).sum())
    return float(min(1.0, (1 - above) * _ROUNDED_UP))


def most_wrong(seen_wrong: int, *, items: int, drawn: int, delta: float) -> int:
    """Upper limit of the wrong items among ``items``, right with probability 1 - ``delta`` at least.

    The wrong ones among the drawn are counted in it.
    """
    low, high = seen_wrong, items - (drawn - seen_wrong)
    if drawn == 0 or lower_tail(seen_wrong, items=items, wrong=high, drawn=drawn) > delta:
        return high
    while high - low > 1:  # the tail falls as the number of wrong items grows
        middle = (low + high) // 2
        if lower_tail(seen_wrong, items=items, wrong=middle, drawn=drawn) > delta:
            low = middle
        else:
            high = middle
    return low


def _mass(seen_wrong: int, items: int, wrong: int, drawn: int) -> float:
    return math.exp(
        _log_choose(wrong, seen_wrong) + _log_choose(items - wrong, drawn - seen_wrong) - _log_choose(items, drawn)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
