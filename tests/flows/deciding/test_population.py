"""What a rule is told of items: an answer that could not be read agrees with nobody."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flows.deciding.population import Population, Withheld, read_population
from flows.stages.planning import read_plan
from pipelines.cascade.rule.scored import AGREES, DIFFERS, UNANSWERED, UNASKED, Scored
from pipelines.settings import settings
from tests.flows.deciding.test_review_labels import DOCUMENTS, reviewed


def test_a_label_beside_an_answer_that_could_not_be_read_differs() -> None:
    answered = np.array([True, False, True, True])
    population = Population(
        shard_ends=np.array([4]),
        item_ids=pa.array(["a", "b", "c", "d"]),
        text_bytes=np.ones(4, np.int64),
        scored=Scored(np.linspace(0.9, 0.6, 4), np.zeros(4, np.int64), 1, is_answered=answered),
        may_be_sent=(np.ones(4, np.bool_),),
        withheld=Withheld(np.zeros(0), np.zeros(0, np.int64)),
    )
    ledger: Any = SimpleNamespace(settled_labels=lambda: {"a": "clean", "b": "clean", "c": None})
    labels = population.labels(ledger, ("clean", "faulty"))
    assert labels.tolist() == [AGREES, DIFFERS, UNANSWERED, UNASKED]


def test_a_review_that_could_not_be_read_has_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    run = reviewed(tmp_path, unreadable=("clean", "wrong"), quality={"target": 0.9})
    plan = read_plan(run)
    assert plan is not None
    scored = read_population(run, plan).scored
    assert (len(scored), int(scored.has_no_answer.sum())) == (len(DOCUMENTS), 2)
    assert (scored.confidence[scored.has_no_answer] == 0).all()
