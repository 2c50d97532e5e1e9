"""What a rule is told of items: an answer that could not be read agrees with nobody."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from flows.deciding.population import Population, Withheld
from pipelines.cascade.rule.scored import AGREES, DIFFERS, UNANSWERED, UNASKED, Scored


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
