"""Which labels of a run the next ones learn from: as good as drawn by chance, never only the doubtful."""

import numpy as np

from flows.deciding.decisions import taught_by
from pipelines.cascade.rule.budget import Spending, budget_steps
from pipelines.cascade.rule.history import Ask
from pipelines.cascade.rule.scored import UNASKED, Scored
from pipelines.cascade.rule.target import Target, target_steps


def asks_of(items: int) -> tuple[Scored, list[Ask]]:
    random = np.random.default_rng(4)
    scored = Scored(random.random(items), random.integers(0, 3, items), seed=2)
    labels, asks = np.full(items, UNASKED, np.int8), []
    for ask in target_steps(scored, Target(0.9, 0.95), labels):
        labels[ask.items] = random.random(len(ask.items)) < 1 - scored.confidence[ask.items] ** 2
        asks.append(ask)
    return scored, asks


def test_pilot_and_sample_teach_and_nothing_that_was_asked_for_its_doubt() -> None:
    scored, asks = asks_of(1500)
    certify, escalate = asks
    assert certify.draw is not None
    taught = taught_by(scored, asks)
    assert len(np.unique(taught)) == len(taught)
    assert np.isin(certify.pilot, taught).all()
    assert np.isin(certify.draw.sample, taught).all()
    assert not np.isin(escalate.items, taught).any()
    assert taught_by(scored, asks).tolist() == taught.tolist()


def test_a_run_that_asked_at_once_teaches_all_that_it_asked() -> None:
    scored, asks = asks_of(30)
    assert [(ask.stage, ask.round) for ask in asks] == [("escalate", 1)]
    assert sorted(taught_by(scored, asks).tolist()) == sorted(asks[0].items.tolist())


def test_a_budget_for_a_few_doubtful_items_alone_teaches_nothing() -> None:
    random = np.random.default_rng(4)
    scored = Scored(random.random(400), random.integers(0, 3, 400), seed=2)
    spending = Spending(np.full(400, 0.01), 0.03, 0.95)
    asks = list(budget_steps(scored, spending, np.zeros(400, np.int8)))
    assert [(ask.stage, ask.round, len(ask.items)) for ask in asks] == [("escalate", 1, 3)]
    assert len(taught_by(scored, asks)) == 0
    assert not asks[0].is_at_once, "no confidence is fitted to it"


def test_nothing_asked_teaches_nothing() -> None:
    assert len(taught_by(Scored(np.zeros(0), np.zeros(0, np.int64), 1), [])) == 0
