"""The decisions of a run as tables, committed before any row is: what stands, and who is asked about the rest.

Everything that depends on a decision reads it here: what is published, who is asked, what is left over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.cascade.answer_offsets import AnswerOffsets
from pipelines.cascade.decisions import Decisions
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import DECISIONS, DOUBTFUL, from_arrow, to_arrow

_TEMPERATURE, _BY_ANSWER = b"temperature", b"by_answer"


class CommittedDecisions:
    """The decisions of one run: read once, then from memory, 5 bytes an item and 30 for each that goes to Claude."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decisions: pa.Table | None = None
        self._doubtful: pa.Table | None = None

    def commit(self, shards: Sequence[Decisions]) -> None:
        """Commit the decisions about every shard, in order; what is committed already stands."""
        of_shard = [(shard, len(decided.is_accepted)) for shard, decided in enumerate(shards)]
        table = pa.table(
            {
                "shard": _numbers(of_shard),
                "is_accepted": np.concatenate([np.zeros(0, np.bool_), *(each.is_accepted for each in shards)]),
            },
            schema=DECISIONS,
        )
        taught = {(decided.temperature, decided.by_answer) for decided in shards if decided.temperature is not None}
        if taught:
            ((temperature, by_answer),) = taught
            corrected = {_BY_ANSWER: json.dumps(asdict(by_answer))} if by_answer else {}
            table = table.replace_schema_metadata({_TEMPERATURE: repr(temperature), **corrected})
        self._store.create(layout.DECISIONS, to_arrow(table))

    def commit_doubtful(self, shards: Iterable[pa.Array[Any]]) -> None:
        """Commit the ids of each shard's items that go to Claude; what is committed already stands."""
        ids = list(shards)
        numbers = _numbers([(shard, len(each)) for shard, each in enumerate(ids)])
        table = pa.table([numbers, pa.concat_arrays([pa.array([], pa.string()), *ids])], schema=DOUBTFUL)
        self._store.create(layout.DOUBTFUL, to_arrow(table))

    @property
    def are_made(self) -> bool:
        """Whether it is committed what stands."""
        return self._store.exists(layout.DECISIONS)

    @property
    def doubtful_are_known(self) -> bool:
        """Whether it is committed, too, who is asked: where each item is decided by itself."""
        return self._store.exists(layout.DOUBTFUL)

    def of_shard(self, shard: int) -> Decisions | None:
        """Decisions about the items of one shard, in the shard's order; None while nothing is decided."""
        if self._decisions is None:
            data = self._store.read_if_exists(layout.DECISIONS)
            if data is None:
                return None
            self._decisions = from_arrow(data).combine_chunks()
        taught = self._decisions.schema.metadata or {}
        return Decisions(
            is_accepted=_of_shard(self._decisions, shard)["is_accepted"].to_numpy(),
            temperature=float(taught[_TEMPERATURE]) if _TEMPERATURE in taught else None,
            by_answer=_offsets(taught[_BY_ANSWER]) if _BY_ANSWER in taught else None,
        )

    def doubtful_ids(self, shard: int) -> list[str]:
        """Items of a shard that go to Claude, in the plan's order.

        Raises:
            StoreError: they are not committed, or cannot be read.
        """
        if self._doubtful is None:
            self._doubtful = from_arrow(self._store.read(layout.DOUBTFUL)).combine_chunks()
        ids: list[str] = _of_shard(self._doubtful, shard)["item_id"].to_numpy().tolist()
        return ids


def _offsets(data: bytes) -> AnswerOffsets:
    told = json.loads(data)
    return AnswerOffsets(told["scale"], tuple(told["offsets"]))


def _numbers(of_shard: Sequence[tuple[int, int]]) -> pa.Array[Any]:
    shards, counts = np.array(of_shard, np.int32).reshape(-1, 2).T
    return pa.array(np.repeat(shards, counts), pa.int32())


def _of_shard(table: pa.Table, shard: int) -> pa.Table:
    first, end = np.searchsorted(table["shard"].to_numpy(), [shard, shard + 1])
    return table.slice(first, end - first)
