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
from pipelines.store.schemas import RESULTS, read_parquet

_COLUMNS = ["item_id", "route", "engine_answer", "raw_prob", "label_mass", "api_input_tokens"]


def labels_of_people(store: Store, answers: Mapping[str, Answer], labels: Sequence[str]) -> Seen:
    """Counted along the run's ranking, as its own labels are."""
    parts = [_decided_over(read_parquet(store.read(key), _COLUMNS)) for key in result_parts(store)]
    rows = pa.concat_tables([pa.schema([RESULTS.field(name) for name in _COLUMNS]).empty_table(), *parts])
    codes = pc.fill_null(pc.index_in(rows["engine_answer"], value_set=pa.array(labels, pa.string())), 0)
    sureness = pc.multiply(rows["raw_prob"], rows["label_mass"]).to_numpy()
    scored = Scored(confidence=sureness, answer=codes.to_numpy().astype(np.int64), seed=0)
    is_unasked = pc.and_(pc.equal(rows["route"], str(Route.REVIEW)), pc.is_null(rows["api_input_tokens"]))
    is_taught = pc.and_(is_unasked, pc.is_valid(rows["engine_answer"]))
    is_taught = pc.and_(is_taught, pc.is_in(rows["item_id"], value_set=pa.array(answers, pa.string())))
    items = np.flatnonzero(is_taught.to_numpy())
    taught = rows.take(pa.array(items))
    pairs = zip(taught["item_id"].to_pylist(), taught["engine_answer"].to_pylist(), strict=True)
    given = np.full(len(rows), UNASKED, np.int8)
    given[items] = [AGREES if answers[item_id].answer == engine else DIFFERS for item_id, engine in pairs]
    return count_labels(scored, given, items)


def _decided_over(part: pa.Table) -> pa.Table:
    """Rows of items that were scored and may be sent."""
    may_be_sent = pc.not_equal(part["route"], str(Route.WITHHELD))
    return part.filter(pc.and_(pc.is_valid(part["raw_prob"]), may_be_sent))
