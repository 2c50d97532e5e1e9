"""How often the statistical tests try, and how many misses they stand: by a dial, `SLUICE_TEST_TRIALS=full`.

`make prove` sets it. Without it there are a fifth of the trials, at least twenty, and the bound is that of so many.
Fewer trials see less: in whole runs, credit that counts twice is caught either way, a delta that is three times as
large by all of them only (and, either way, by the exact test of the chain alone).
"""

from __future__ import annotations

import math
import os

_IS_FULL = os.environ.get("SLUICE_TEST_TRIALS") == "full"
_SHARE, _LEAST = 5, 20
# The chance that a rule which only just keeps its promise is called broken, were its seeds drawn anew. They are fixed:
# no test fails unless the code changes. Smaller, and twenty trials would hardly see a broken rule.
FALSE_ALARM = 1e-3


def trials(full: int) -> int:
    """How many to run where ``full`` are wanted."""
    return full if _IS_FULL else min(full, max(_LEAST, full // _SHARE))


def most_misses(runs: int, chance: float) -> int:
    """The misses that so many runs stay within, but for `FALSE_ALARM`, if each misses with no more than ``chance``."""
    total = 0.0
    for count in range(runs + 1):
        total += math.comb(runs, count) * chance**count * (1 - chance) ** (runs - count)
        if total >= 1 - FALSE_ALARM:
            return count
    return runs
