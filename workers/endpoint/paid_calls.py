"""The journal of paid calls to a first tier: what was about to be asked, and what was answered.

    first_tier/shard-00000/asked-000.json      before the first call about these items
                           answered-000.arrow  how each call ended, once all have

A call costs money and cannot be asked for a second time, so no call is made twice. A process that is stopped lets its
calls end and commits them; one that is killed leaves an intent without answers: those calls may have been paid, their
answers are lost, and its items are told so. Items of an intent that its answers do not name were not asked about.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipelines.errors import EngineError
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow, to_arrow


class AskedIntent(BaseModel):
    """Calls about to be made; ids only, never a text."""

    model_config = ConfigDict(frozen=True)

    token: str
    created_at: datetime
    item_ids: tuple[str, ...]
    worst_cost_usd: Decimal | None  # of all of them; None: the job gives no price


@dataclass(frozen=True)
class KnownCalls:
    """What the journal of a shard says: tables of answers, the ids whose answers are lost, and what comes next."""

    answered: Sequence[pa.Table]
    lost: Sequence[AskedIntent]
    next_number: int


class PaidCalls:
    """The journal of one run's paid calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(self, shard: int) -> KnownCalls:
        """What earlier processes have asked about a shard."""
        answered, lost, number = [], [], 0
        while (intent := self._store.read_if_exists(_asked(shard, number))) is not None:
            answers = self._store.read_if_exists(_answered(shard, number))
            if answers is None:
                lost.append(AskedIntent.model_validate_json(intent))
            else:
                answered.append(from_arrow(answers))
            number += 1
        return KnownCalls(answered, lost, number)

    def intend(
        self, shard: int, number: int, item_ids: Sequence[str], worst_cost_usd: Decimal | None, now: datetime
    ) -> None:
        """Write down what is about to be asked.

        Raises:
            EngineError: another process has taken the number: it asks about this shard now.
        """
        intent = AskedIntent(
            token=uuid.uuid4().hex, created_at=now, item_ids=tuple(item_ids), worst_cost_usd=worst_cost_usd
        )
        if not self._store.create(_asked(shard, number), intent.model_dump_json().encode()):
            raise EngineError(
                f"another process asks the first tier about shard {shard} of this run; wait for it, or stop it"
            )

    def answer(self, shard: int, number: int, answers: pa.Table) -> None:
        """Write down how the calls ended: schema `FIRST_TIER`."""
        self._store.create(_answered(shard, number), to_arrow(answers))


def _asked(shard: int, number: int) -> str:
    return layout.first_tier_object(shard, f"asked-{number:03d}.json")


def _answered(shard: int, number: int) -> str:
    return layout.first_tier_object(shard, f"answered-{number:03d}.arrow")
