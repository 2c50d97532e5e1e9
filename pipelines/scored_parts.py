"""What later stages need of a shard, in one object: its items without their texts, and what the engine said of them.

Columns `ITEM_FIELDS`, ``carried``, ``duplicate_of`` and ``windows`` where they are in the plan, and ``prediction``: a
struct of the columns of the predictions (schema `PREDICTIONS` or `REVIEWS`, but for ``item_id``), null for an item that
was not scored. One row per item of the plan, in its order.
Texts and tokens, which make up nearly all of a plan, are read again for what is sent to Claude alone.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.errors import InvariantError
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import CARRIED, DUPLICATE_OF, GOLD_LABELS, ITEM_FIELDS, PLAN, WINDOWS, from_arrow

_OF_THE_PLAN = [field.name for field in ITEM_FIELDS if field.name != "text_bytes"]
_PREDICTION = "prediction"
_IF_THERE = (CARRIED, DUPLICATE_OF, WINDOWS)
# Some two million items of a classification.
_MOST_KEPT_BYTES = 128 * 1024**2


def items_of_plan(plan_part: bytes, question: str | None = None) -> pa.Table:
    """The items of a committed part of the plan: `ITEM_FIELDS`, and what they carry.

    With ``question``, their known answers are those to that one of several.
    """
    plan = from_arrow(plan_part, [*_OF_THE_PLAN, "text"], if_there=(*_IF_THERE, *([GOLD_LABELS] if question else ())))
    return items_of(plan if question is None else with_gold_of(plan, question))


def with_gold_of(plan: pa.Table, question: str) -> pa.Table:
    """A part of a plan with the known answers to one of several questions as its `gold_label`."""
    gold = pc.struct_field(plan[GOLD_LABELS], question)
    return plan.set_column(plan.column_names.index("gold_label"), PLAN.field("gold_label"), gold)


def items_of(plan: pa.Table) -> pa.Table:
    """The same of a table of schema `PLAN`."""
    columns = {name: plan[name] for name in _OF_THE_PLAN}
    columns["text_bytes"] = pc.binary_length(plan["text"]).cast(pa.int64())
    items = pa.table(columns, schema=pa.schema(ITEM_FIELDS))
    for name in _IF_THERE:
        items = items.append_column(name, plan[name]) if name in plan.column_names else items
    return items


def scored_part(items: pa.Table, predictions: pa.Table) -> pa.Table:
    """Items and the predictions of all those that have a text: neither failed ones nor copies.

    Args:
        items: `ITEM_FIELDS`.
        predictions: schema `PREDICTIONS` or `REVIEWS`, in the items' order.

    Raises:
        InvariantError: they are not about these items.
    """
    has_text = pc.is_null(items["failure"]).to_numpy() & ~is_copy(items)
    if not items["item_id"].filter(pa.array(has_text)).equals(predictions["item_id"]):
        raise InvariantError("predictions are not about the items of their shard; please report this")
    return _part(items, predictions, has_text)


def partly_scored_part(items: pa.Table, predictions: pa.Table) -> pa.Table:
    """The same where not all that have a text were to be scored: predictions of some, in the items' order.

    Raises:
        InvariantError: they are not about these items.
    """
    has_any = pc.is_in(items["item_id"], value_set=predictions["item_id"].combine_chunks()).to_numpy()
    if not items["item_id"].filter(pa.array(has_any)).equals(predictions["item_id"]):
        raise InvariantError("predictions are not about the items of their shard; please report this")
    return _part(items, predictions, has_any)


def unscored_part(items: pa.Table, predictions_schema: pa.Schema) -> pa.Table:
    """Items of which no engine has said anything."""
    return _part(items, predictions_schema.empty_table(), np.zeros(len(items), np.bool_))


def _part(items: pa.Table, predictions: pa.Table, has_any: NDArray[np.bool_]) -> pa.Table:
    places = pa.array(np.cumsum(has_any) - 1, pa.int64(), mask=~has_any)
    spread = predictions.drop_columns(["item_id"]).combine_chunks().take(places)
    struct = pa.StructArray.from_arrays(
        [_chunk(column) for column in spread.columns],
        fields=[field.with_nullable(True) for field in spread.schema],
        mask=pa.array(~has_any),
    )
    return items.append_column(_PREDICTION, struct)


def read_scored_part(store: Store, shard: int) -> pa.Table:
    """The part of one shard, less its copies: about these nothing is asked or decided.

    Raises:
        StoreError: it is not there, or cannot be read.
    """
    return _without_copies(store.read(layout.predictions_part(shard)))


def _without_copies(data: bytes) -> pa.Table:
    part = from_arrow(data)
    return part.filter(pa.array(~is_copy(part))) if DUPLICATE_OF in part.column_names else part


class KeptParts:
    """The parts of a run that are read to decide, and again to publish: what fits is read from the store once.

    A part is kept as it is stored, until who publishes takes it. Threads may share it.
    """

    def __init__(self, store: Store, most_bytes: int = _MOST_KEPT_BYTES) -> None:
        self._store = store
        self._room_bytes = most_bytes
        self._kept: dict[int, bytes] = {}
        self._lock = Lock()

    def read(self, shard: int) -> pa.Table:
        """As `read_scored_part`; another stage will want it, too."""
        data = self._kept.get(shard) or self._store.read(layout.predictions_part(shard))
        with self._lock:
            if shard not in self._kept and len(data) <= self._room_bytes:
                self._kept[shard] = data
                self._room_bytes -= len(data)
        return _without_copies(data)

    def take(self, shard: int) -> pa.Table:
        """As `read_scored_part`, for the last time."""
        with self._lock:
            data = self._kept.pop(shard, None)
            self._room_bytes += len(data or b"")
        return read_scored_part(self._store, shard) if data is None else _without_copies(data)


def read_copies(store: Store, shard: int) -> pa.Table:
    """The copies of one shard.

    Raises:
        StoreError: it is not there, or cannot be read.
    """
    part = from_arrow(store.read(layout.predictions_part(shard)))
    return part.filter(pa.array(is_copy(part))).drop_columns([_PREDICTION])


def is_copy(part: pa.Table) -> NDArray[np.bool_]:
    """Shape [items]: whether its text is another's."""
    if DUPLICATE_OF not in part.column_names:
        return np.zeros(len(part), np.bool_)
    copies: NDArray[np.bool_] = pc.is_valid(part[DUPLICATE_OF]).to_numpy()
    return copies


def is_scored(part: pa.Table) -> NDArray[np.bool_]:
    """Shape [items]: whether the engine said anything of it."""
    scored: NDArray[np.bool_] = pc.is_valid(part[_PREDICTION]).to_numpy()
    return scored


def predictions_of(part: pa.Table) -> pa.Table:
    """The predictions in a part: a row for each scored item, with the columns of their schema."""
    scored = part.filter(pc.is_valid(part[_PREDICTION]))
    struct = cast("pa.StructArray", _chunk(scored[_PREDICTION]))
    names = [field.name for field in struct.type]
    columns: dict[str, Any] = {"item_id": scored["item_id"]}
    columns |= dict(zip(names, struct.flatten(), strict=True))
    return pa.table(columns)


def carried_by(part: pa.Table) -> pa.Table:
    """The columns that the items carry, with a row for each; none where nothing is carried."""
    if CARRIED not in part.column_names:
        return part.select([])
    struct = cast("pa.StructArray", _chunk(part[CARRIED]))
    return pa.table(struct.flatten(), schema=pa.schema(list(struct.type)))


def _chunk(column: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
