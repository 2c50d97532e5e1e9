"""How far a run is: the numbers that `pipeline status` and `watch`, Prefect and Prometheus have in common."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

Stage = Literal["plan", "score", "ask", "publish", "complete"]


class OpenBatch(BaseModel):
    """A message batch that Claude has not answered yet."""

    model_config = ConfigDict(frozen=True)

    chunk: int
    items: int
    model: str
    sent_at: datetime | None  # None: about to be sent
    reserved_usd: Decimal | None  # the most it can cost


class RunStatus(BaseModel):
    """Where a run stands. Once it is complete all is exact; before, what ``is_about`` names is reckoned from samples.

    Costs are those so far, None where a price is unknown; ``seconds_left`` are those of the stage.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    state: str
    stage: Stage
    is_complete: bool
    is_worked_on: bool | None  # by a process of this machine; None: there is no telling
    is_planned: bool
    planned_items: int
    shards: int
    scored_shards: int
    scored_items: int
    items_per_second: float | None
    seconds_left: float | None
    routes: dict[str, int]  # of the rows published so far
    batches_sent: int
    batches_collected: int
    open_batches: tuple[OpenBatch, ...]
    devices: int | None
    busy_share: float | None  # of the devices' time: of late while they score, of the whole afterwards
    is_over_http: bool  # a first tier over HTTP answers first: one of the next two is always empty
    engine_cost_usd: Decimal | None
    first_tier_cost_usd: Decimal | None
    claude_cost_usd: Decimal | None
    cost_usd: Decimal | None
    is_about: tuple[str, ...]
    last_commit_at: datetime | None
    next_step: str

    @property
    def first_cost_usd(self) -> Decimal | None:
        """What answering first has cost, whoever did."""
        return self.first_tier_cost_usd if self.is_over_http else self.engine_cost_usd

    @property
    def published_items(self) -> int:
        """Rows that are there."""
        return sum(self.routes.values())

    @property
    def reserved_usd(self) -> Decimal | None:
        """What the open batches can cost at most."""
        amounts = [batch.reserved_usd for batch in self.open_batches]
        known = [amount for amount in amounts if amount is not None]
        return None if len(known) < len(amounts) else sum(known, Decimal(0))
