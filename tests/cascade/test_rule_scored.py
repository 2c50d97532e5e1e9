"""The ranking of scores, and chance that is the same on every machine and with every release of numpy."""

import math

import numpy as np
import pytest

from pipelines.cascade.rule.scored import Scored


def scored(confidence: list[float], seed: int = 1) -> Scored:
    return Scored(np.array(confidence), np.zeros(len(confidence), np.int64), seed)


def test_surest_first_and_no_score_last() -> None:
    items = scored([0.2, math.nan, 0.9, 0.5])
    assert items.order.tolist() == [2, 3, 0, 1]
    assert items.place.tolist() == [2, 3, 0, 1]
    assert items.rank.tolist() == [0.625, 0.875, 0.125, 0.375]


def test_ties_share_a_rank_and_are_ordered_by_the_seed() -> None:
    assert scored([0.5] * 10).rank.tolist() == [0.5] * 10
    assert scored([0.9, 0.5, 0.5, 0.5]).rank.tolist() == [0.125, 0.625, 0.625, 0.625]
    assert scored([0.5] * 10, seed=1).order.tolist() != scored([0.5] * 10, seed=2).order.tolist()


def test_any_scale_will_do() -> None:
    scores = np.random.default_rng(1).random(50)
    assert scored((scores * 40 - 30).tolist()).order.tolist() == scored(scores.tolist()).order.tolist()


def test_no_items() -> None:
    assert len(scored([]).rank) == len(scored([]).order) == len(scored([]).codes) == 0


def test_answers_are_numbered_from_zero() -> None:
    items = Scored(np.zeros(4), np.array([700, -3, 700, 12]), 1)
    assert items.codes.tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize(("seed", "first"), [(1, 3311612900364703896), (2**64 - 1, 14295811312642750303)])
def test_chance_is_pinned(seed: int, first: int) -> None:
    assert int(scored([0.0] * 3, seed).chance("pilot")[0]) == first


def test_each_purpose_has_its_own_chance() -> None:
    items = scored([0.5] * 100)
    assert not (items.chance("pilot") == items.chance("certify")).any()
