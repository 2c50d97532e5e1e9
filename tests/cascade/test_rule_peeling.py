"""The order may be learnt from the sample as items come off: every draw is tried, for orders that want to miss."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.doubt import Doubt, IntArray
from pipelines.cascade.rule.history import Draw, History
from pipelines.cascade.rule.peeling import peel
from pipelines.cascade.rule.scored import Scored
from pipelines.cascade.rule.strikes import most_strikes
from tests.cascade.trials import most_misses, tries

POOL, BUDGET, SAMPLE, DELTA = 10, 2, 5, 0.3
Order = Callable[[IntArray, frozenset[int]], Sequence[int]]


def drawn_again_and_again(left: IntArray, shown: frozenset[int]) -> Sequence[int]:
    """Another order after each item, by which of those that came off were drawn."""
    return np.random.default_rng([len(left), *sorted(shown)]).permutation(left).tolist()


def beside_those_drawn(left: IntArray, shown: frozenset[int]) -> Sequence[int]:
    """Neighbours of drawn ones come off first, as though they were drawn too."""
    return sorted(left, key=lambda item: (item - 1 in shown) + (item + 1 in shown))


def away_from_those_drawn(left: IntArray, shown: frozenset[int]) -> Sequence[int]:
    return sorted(left, key=lambda item: -(item - 1 in shown) - (item + 1 in shown))


class Adversary(History):
    """Knows which items are wrong, and may set the order by all that may be known of who was drawn."""

    def __init__(self, is_wrong: np.ndarray, drawn: Sequence[int], order: Order) -> None:
        super().__init__(Scored(np.zeros(POOL), np.zeros(POOL, np.int64), 1), is_wrong.astype(np.int8))
        self.is_known[list(drawn)] = True
        self._order = order

    def curve_of(self, items: IntArray) -> Doubt:
        assert self.is_known[items].all(), "nothing is learnt from labels that nobody bought"
        self._shown = frozenset(items.tolist())
        return None  # type: ignore[return-value]  # the order is made without one

    def by_doubt(self, items: IntArray, curve: Doubt | None = None) -> IntArray:
        return np.array(self._order(items, self._shown), np.int64)


def stays_wrong(history: History, kept: IntArray) -> int:
    return int((history._labels[kept] > 0)[~history.is_known[kept]].sum())


@pytest.mark.parametrize("order", [drawn_again_and_again, beside_those_drawn, away_from_those_drawn])
@pytest.mark.parametrize("wrong", [3, 4, 5, 6, 8, 10])
def test_no_order_that_is_learnt_on_the_way_misses_more_often_than_delta(order: Order, wrong: int) -> None:
    strikes = most_strikes(POOL, BUDGET, SAMPLE, DELTA)
    assert strikes is not None
    draws = list(itertools.combinations(range(POOL), SAMPLE))
    for is_wrong in (np.arange(POOL) < wrong, np.arange(POOL) % 3 < wrong / 3.3, np.arange(POOL) >= POOL - wrong):
        missed = 0
        for drawn in draws:
            history = Adversary(is_wrong, drawn, order)
            kept = peel(history, np.arange(POOL), np.zeros(0, np.int64), strikes)
            assert history.wrong(kept) <= strikes
            missed += stays_wrong(history, kept) > BUDGET
        assert missed <= DELTA * len(draws)


def test_an_order_that_looks_at_who_is_drawn_among_those_left_is_caught() -> None:
    """What the rule must not do: were it done, these tests would see it."""
    strikes, missed = most_strikes(POOL, BUDGET, SAMPLE, DELTA), 0
    assert strikes is not None
    draws = list(itertools.combinations(range(POOL), SAMPLE))
    for drawn in draws:
        history = Adversary(np.ones(POOL, np.bool_), drawn, lambda left, _, drawn=drawn: sorted(left, key=drawn.count))
        missed += stays_wrong(history, peel(history, np.arange(POOL), np.zeros(0, np.int64), strikes)) > BUDGET
    assert missed > DELTA * len(draws)


def test_what_is_left_holds_no_more_strikes_and_one_more_item_would() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        scored = Scored(random.random(300), random.integers(0, 4, 300), seed)
        history = History(scored, (random.random(300) < 1 - scored.confidence).astype(np.int8))
        pool, pilot = np.arange(290), np.arange(290, 300)
        sample = history.draw(pool, 60)
        history.ask("certify", np.r_[pilot, sample], Draw(sample, pool), pilot=pilot)
        kept = peel(history, pool, pilot, 3)
        assert history.wrong(kept) == 3
        assert len(np.unique(kept)) == len(kept)
        assert len(peel(history, pool, pilot, 4)) > len(kept)
        assert len(peel(history, pool, pilot, history.wrong(sample))) == len(pool)


@tries(200)
def test_the_order_that_is_learnt_keeps_to_delta_and_keeps_more(runs: int) -> None:
    """One answer of four is wrong most of the time, and the ten labels of the pilot do not tell which."""
    random, missed, learnt, fixed = np.random.default_rng(6), 0, 0, 0
    budget, answer = allowed_wrong(600, 0.9), np.repeat(np.arange(4), 150)
    strikes = most_strikes(590, budget, 150, 0.1)
    assert strikes is not None
    for seed in range(runs):
        scored = Scored(random.random(600), answer, seed)
        is_wrong = random.random(600) < np.where(answer == 2, 0.7, 0.1 * (1 - scored.confidence))
        history = History(scored, is_wrong.astype(np.int8))
        pilot = scored.order[-10:]
        pool = history.by_doubt(scored.order[:-10])
        sample = history.draw(pool, 150)
        history.ask("certify", np.r_[pilot, sample], Draw(sample, pool), pilot=pilot)
        kept = peel(history, pool, pilot, strikes)
        missed += stays_wrong(history, kept) > budget
        learnt += len(kept)
        places = np.flatnonzero(history.is_wrong(pool))
        fixed += int(places[strikes]) if len(places) > strikes else len(pool)
    assert missed <= most_misses(runs, 0.1)
    assert learnt > 1.2 * fixed
