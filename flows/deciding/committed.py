"""What a target or a budget decided, read back: once for a whole run, then from memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.results import Decisions
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow


class CommittedDecisions:
    """The decisions of one run; 13 bytes an item once they are read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._table: pa.Table | None = None

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
