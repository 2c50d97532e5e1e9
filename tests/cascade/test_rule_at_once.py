"""Small runs: everything in one message batch where learning and certifying first would spare next to nothing."""

import numpy as np
import pytest

from pipelines.cascade.rule.at_once import is_worth_waiting
from pipelines.cascade.rule.bounds import allowed_wrong
from pipelines.cascade.rule.scored import UNASKED, Scored
from pipelines.cascade.rule.target import Ask, Settled, Target, next_step


def some(items: int, seed: int = 1) -> Scored:
    random = np.random.default_rng(seed)
    return Scored(random.random(items), random.integers(0, 3, items), seed)


def waits(items: int, promise: Target, pilot: int = 30) -> bool:
    return is_worth_waiting(items, pilot, allowed_wrong(items, promise.target), promise.delta, promise.audit_items)


@pytest.mark.parametrize(
    ("items", "target", "audit_items"), [(15, 0.8, 0), (30, 0.9, 0), (100, 0.9, 50), (200, 0.95, 50), (400, 0.98, 50)]
)
def test_a_small_run_asks_once_and_keeps_as_many_as_may_be_wrong(items: int, target: float, audit_items: int) -> None:
    scored, promise, allowed = some(items), Target(target, 0.95, audit_items), allowed_wrong(items, target)
    labels = np.full(items, UNASKED, np.int8)
    ask = next_step(scored, promise, labels)
    assert isinstance(ask, Ask)
    assert (ask.stage, ask.round, len(ask.items)) == ("escalate", 1, items - allowed)
    labels[ask.items] = 1  # whatever Claude says of them
    settled = next_step(scored, promise, labels)
    assert isinstance(settled, Settled)
    assert settled.is_accepted.sum() == allowed > 0
    assert scored.confidence[settled.is_accepted].min() > scored.confidence[~settled.is_accepted].max()
    facts = settled.certificate
    assert (facts.rounds, facts.pilot, facts.sample, facts.prefix) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("items", "target", "audit_items"), [(100, 0.9, 0), (200, 0.9, 50), (300, 0.95, 50), (600, 0.98, 50)]
)
def test_a_run_that_spares_a_tenth_learns_and_certifies_first(items: int, target: float, audit_items: int) -> None:
    ask = next_step(some(items), Target(target, 0.95, audit_items), np.full(items, UNASKED, np.int8))
    assert isinstance(ask, Ask)
    assert ask.stage == "certify"


def test_the_more_items_the_sooner_waiting_is_worth_it() -> None:
    worth = [waits(items, Target(0.95, 0.95, 50)) for items in (40, 60, 100, 150, 300, 600, 2_000, 2_001)]
    assert worth == sorted(worth)
    assert worth[0] is False
    assert worth[-1] is True


def test_what_the_audit_asks_is_not_spared() -> None:
    assert waits(100, Target(0.9, 0.95))
    assert not waits(100, Target(0.9, 0.95, audit_items=50))
