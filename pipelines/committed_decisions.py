"""The decisions of a run as one table: a row for each scored item, in the plan's order, committed before any row is.

Everything that depends on a decision reads it here: what is published, who is asked, what is left over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.cascade.decisions import Decisions
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import DECISIONS, from_arrow, to_arrow


class CommittedDecisions:
    """The decisions of one run: read once, then from memory, 13 bytes an item."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._table: pa.Table | None = None

    def commit(self, shards: Iterable[Decisions]) -> None:
        """Commit the decisions about every shard, in order; what is committed already stands."""
        parts = [DECISIONS.empty_table(), *(_table(shard, decided) for shard, decided in enumerate(shards))]
        self._store.create(layout.DECISIONS, to_arrow(pa.concat_tables(parts)))

    @property
    def are_made(self) -> bool:
        """Whether they are committed."""
        return self._table is not None or self._store.exists(layout.DECISIONS)

    def of_shard(self, shard: int) -> Decisions | None:
        """None before they are made."""
        if self._table is None:
            data = self._store.read_if_exists(layout.DECISIONS)
            if data is None:
                return None
            self._table = from_arrow(data).combine_chunks()
        shards = self._table["shard"].to_numpy()
        first, end = np.searchsorted(shards, [shard, shard + 1])
        rows = self._table.slice(first, end - first)
        confidence = rows["confidence"]
        return Decisions(
            is_accepted=rows["is_accepted"].to_numpy(),
            confidence=None if confidence.null_count else confidence.to_numpy(),
        )


def _table(shard: int, decided: Decisions) -> pa.Table:
    count = len(decided.is_accepted)
    columns: dict[str, pa.Array[Any]] = {
        "shard": pa.array(np.full(count, shard), pa.int32()),
        "is_accepted": pa.array(decided.is_accepted),
        "confidence": pa.nulls(count, pa.float64()) if decided.confidence is None else pa.array(decided.confidence),
    }
    return pa.table(columns, schema=DECISIONS)
