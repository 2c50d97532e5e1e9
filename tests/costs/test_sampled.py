"""Totals by a sample hold what is true about as often as they say, and leave nothing to chance where all is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.costs.sampled import Total, total_of


def test_the_range_holds_the_truth_in_about_95_of_100_samples() -> None:
    random = np.random.default_rng(7)
    whole = random.gamma(4.0, 0.25, 5_000)  # as device times are: none below nothing, some long
    held = 0
    for _ in range(1_000):
        total = total_of(random.choice(whole, 200, replace=False), len(whole))
        held += total.least <= whole.sum() <= total.most
    assert 920 <= held <= 975


def test_a_sample_of_everything_leaves_nothing_open() -> None:
    total = total_of(np.array([1.0, 2.0, 6.0]), 3)
    assert (total.about, total.least, total.most) == pytest.approx((9, 9, 9))


def test_one_item_says_little_and_none_nothing() -> None:
    one = total_of(np.array([2.0]), 100)
    assert (one.about, one.least) == (200, 0)
    assert one.most > 400
    assert total_of(np.zeros(0), 100) == Total(0, 0, 0)
