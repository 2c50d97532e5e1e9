"""How often the statistical tests try, and how many misses they stand: few in `make test`, all in `make prove`.

Few are a fifth, at least twenty, and the bound is that of so many. They see less: in whole runs, credit that counts
twice is caught either way, a delta three times as large by all trials only (and by the exact test of the chain).
"""

from __future__ import annotations

import math

import pytest

_SHARE, _LEAST = 5, 20
# The chance that a rule which only just keeps its promise is called broken, were its seeds drawn anew. They are fixed:
# no test fails unless the code changes. Smaller, and twenty trials would hardly see a broken rule.
FALSE_ALARM = 1e-3


def tries(full: int) -> pytest.MarkDecorator:
    """The test's argument ``runs``: few, and, with the mark `prove`, so many."""
    few = min(full, max(_LEAST, full // _SHARE))
    return pytest.mark.parametrize(
        "runs", [pytest.param(few, id="few"), pytest.param(full, id="all", marks=pytest.mark.prove)]
    )


def most_misses(runs: int, chance: float) -> int:
    """The misses that so many runs stay within, but for `FALSE_ALARM`, if each misses with no more than ``chance``."""
    total = 0.0
    for count in range(runs + 1):
        total += math.comb(runs, count) * chance**count * (1 - chance) ** (runs - count)
        if total >= 1 - FALSE_ALARM:
            return count
    return runs
