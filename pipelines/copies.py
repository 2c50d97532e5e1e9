"""The rows of documents whose text is another's: what became of the original, at no cost of their own.

Functions over tables: no store, no clock.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.costs.accounting import to_money
from pipelines.errors import InvariantError
from pipelines.routes import Route
from pipelines.scored_parts import carried_by
from pipelines.store.schemas import DUPLICATE_OF, RESULTS, result_schema

# What a copy takes from its original's row.
TAKEN = (
    "task", "answer", "confidence", "raw_prob", "label_mass", "route", "reason", "model", "model_revision",
    "engine_answer", "run_id", "scored_at", "settled_at", "question", "label",
)  # fmt: skip
_OWN = ("item_id", "document_id", "document_uri", "document_offset", "gold_label", DUPLICATE_OF)
_NOTHING = to_money(Decimal(0))
_FREE = {"input_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "api_cost_usd": _NOTHING, "cost_usd": _NOTHING}
_FREE_ON_ENGINES, _FREE_OVER_HTTP = {"gpu_seconds": 0.0, "gpu_cost_usd": _NOTHING}, {"first_tier_cost_usd": _NOTHING}


def copy_rows(copies: pa.Table, originals: pa.Table, *, is_over_http: bool) -> pa.Table:
    """Final rows, `result_schema`.

    Args:
        copies: of a part, see `pipelines.scored_parts`.
        originals: ``item_id`` and `TAKEN` of the rows of all their originals, in any order.
        is_over_http: a server answers first, whose column of costs is another.

    Raises:
        InvariantError: an original has no row.
    """
    places = pc.index_in(copies[DUPLICATE_OF], value_set=originals["item_id"].combine_chunks())
    if places.null_count:
        raise InvariantError("a document is the copy of one that has no row; please report this with the run's folder")
    taken = originals.take(places)
    columns: dict[str, Any] = {name: taken[name] for name in TAKEN} | {name: copies[name] for name in _OWN}
    withheld = pc.and_(pc.equal(taken["route"], pa.scalar(str(Route.WITHHELD))), pc.is_valid(copies["withheld"]))
    columns["reason"] = pc.if_else(withheld, copies["withheld"], taken["reason"])  # the rule tells why of each
    free: dict[str, Any] = {**_FREE, **(_FREE_OVER_HTTP if is_over_http else _FREE_ON_ENGINES)}
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.array([free.get(field.name)] * len(copies), field.type)
        for field in RESULTS
    ]
    carried = carried_by(copies)
    return pa.table([*arrays, *carried.columns], schema=result_schema(carried.schema))
