"""What people's answers about a run teach of where its engine errs: labels for the runs after it.

Only of items in `review` that Claude was never asked about, such as those that a budget did not reach: what Claude was
asked counts among the run's own labels already, and what a policy withholds is no item that a rule decides over. How
the items were chosen does no harm: the curve is of P(wrong) at a place of the ranking, and says nothing of how many
stand there. Like every prior these steer what a run asks; what it promises rests on its own labels alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.cascade.rule.doubt import Seen
from pipelines.cascade.rule.earlier import count_labels
from pipelines.cascade.rule.scored import AGREES, DIFFERS, UNASKED, Scored
from pipelines.people.answers import Answer
from pipelines.routes import Route
from pipelines.store.objects import Store
from pipelines.store.runs import result_parts
from pipelines.store.schemas import DUPLICATE_OF, RESULTS, read_part

_COLUMNS = ["item_id", "route", "engine_answer", "raw_prob", "label_mass", "api_input_tokens", DUPLICATE_OF]
_REVIEW, _WITHHELD = pa.array([str(Route.REVIEW)]), pa.array([str(Route.WITHHELD)])


def labels_of_people(store: Store, answers: Mapping[str, Answer], labels: Sequence[str]) -> Seen:
    """Counted along the run's ranking, as its own labels are."""
    parts = [_decided_over(read_part(store.read(key), _COLUMNS)) for key in result_parts(store)]
    rows = pa.concat_tables([pa.schema([RESULTS.field(name) for name in _COLUMNS]).empty_table(), *parts])
    numbers = {label: number for number, label in enumerate(labels)}
    engine = rows["engine_answer"].to_numpy().tolist()
    scored = Scored(
        confidence=rows["raw_prob"].to_numpy() * rows["label_mass"].to_numpy(),
        answer=np.array([numbers.get(label, 0) for label in engine], np.int64),
        seed=0,
    )
    given = np.full(len(rows), UNASKED, np.int8)
    is_unasked = pc.and_(pc.is_in(rows["route"], value_set=_REVIEW), pc.is_null(rows["api_input_tokens"]))
    is_taught = pc.and_(is_unasked, pc.is_in(rows["item_id"], value_set=pa.array(answers, pa.string()))).to_numpy()
    for place, item_id in zip(np.flatnonzero(is_taught), rows["item_id"].to_numpy()[is_taught].tolist(), strict=True):
        if engine[place] is not None:
            given[place] = AGREES if answers[item_id].answer == engine[place] else DIFFERS
    return count_labels(scored, given, np.flatnonzero(given != UNASKED))


def _decided_over(part: pa.Table) -> pa.Table:
    """Rows of items that were scored themselves and may be sent."""
    is_withheld = pc.is_in(part["route"], value_set=_WITHHELD)
    is_scored = pc.and_(pc.is_valid(part["raw_prob"]), pc.is_null(part[DUPLICATE_OF]))
    return part.filter(pc.and_not(is_scored, is_withheld))
