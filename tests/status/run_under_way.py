"""A run under way that nobody runs: its store as planning, engines and Claude leave it, part by part."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipelines.escalation.journal import ChunkDraft, Intent, Journal, Submitted
from pipelines.store import layout
from pipelines.store.objects import Listed, Store
from pipelines.store.schemas import COLLECTED, PREDICTIONS, RESULTS, to_arrow, to_part
from tests.made_up_run import accepted, escalated

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


class CountingStore(Store):
    """Counts what it is asked: a page of a listing is a request of its own."""

    requests = 0

    def listing(self, prefix: str, after: str | None = None) -> Iterator[Listed]:
        found = list(super().listing(prefix, after))
        self.requests += 1 + len(found) // 1_000
        yield from found

    def read_if_exists(self, key: str) -> bytes | None:
        self.requests += 1
        return super().read_if_exists(key)

    def exists(self, key: str) -> bool:
        self.requests += 1
        return super().exists(key)


class RunUnderWay:
    """Writes what a run's processes would have, at times before `NOW`."""

    def __init__(self, root: Path, *, hour_usd: str | None = "3.60", model: str = "starter") -> None:
        self.store = CountingStore(str(root))
        self.root = root
        self._put(layout.RUN, json.dumps({"run_id": "run_1", "model": model}).encode())
        self._put(layout.JOB, yaml.safe_dump({"compute": {"device_hour_usd": hour_usd}}).encode())

    def plan(self, shards: range, items: int = 10, seconds_ago: float = 1_000) -> None:
        part = to_arrow(pa.table({"item_id": [f"itm_{number}" for number in range(items)]}))
        for shard in shards:
            self._put(layout.plan_part(shard), part, seconds_ago)

    def plan_is_whole(self, shards: int, items: int) -> None:
        self._put(layout.PLAN_COMPLETE, json.dumps({"shards": shards, "items": items, "failed_items": 0}).encode())

    def engines(self, devices: int) -> None:
        self._put(layout.engines_begun(1), json.dumps({"engines": devices, "devices": devices}).encode())

    def score(
        self, shards: range, items: int = 10, *, seconds_a_shard: float = 1.0, device_seconds: float = 1.0
    ) -> None:
        """One shard after the other, the last of them just now."""
        struct = pa.struct([field for field in PREDICTIONS if field.name == "device_nanoseconds"])
        taken = [{"device_nanoseconds": round(device_seconds * 1e9 / items)}] * items
        part = to_arrow(pa.table({"item_id": list(map(str, range(items))), "prediction": pa.array(taken, struct)}))
        for shard in shards:
            self._put(layout.predictions_part(shard), part, (shards[-1] - shard) * seconds_a_shard)

    def scored(self, devices: int, held_seconds: float) -> None:
        session = {"engines": devices, "devices": devices, "held_seconds": held_seconds}
        self._put(layout.engine_time(1), json.dumps(session).encode())

    def send(self, chunk: int, items: int = 3, *, seconds_ago: float = 60, reserved_usd: str = "0.5") -> None:
        draft = ChunkDraft(
            tier=0,
            model="claude-haiku-5-5",
            item_ids=tuple(f"itm_{number}" for number in range(items)),
            shards=(0,),
            reserved_cost_usd=Decimal(reserved_usd),
        )
        journal, sent_at = Journal(self.store), NOW - timedelta(seconds=seconds_ago)
        intent = journal.intend(chunk, draft, "x", sent_at)
        assert isinstance(intent, Intent)
        journal.submit(intent, Submitted(batch_id=f"msgbatch_{chunk}", submitted_at=sent_at))
        for path in (self.root / layout.ESCALATIONS).rglob("*.json"):
            os.utime(path, (sent_at.timestamp(), sent_at.timestamp()))

    def answer(self, chunk: int, costs: list[str]) -> None:
        rows = [
            {"item_id": f"itm_{number}", "ending": "answered", "api_cost_usd": Decimal(cost), "settled_at": NOW}
            for number, cost in enumerate(costs)
        ]
        Journal(self.store).collect(chunk, pa.Table.from_pylist(rows, COLLECTED))

    def decide(self) -> None:
        self._put(layout.DECISIONS, b"")

    def publish(self, part: int, routes: dict[str, int], form: layout.ResultFormat = "parquet") -> None:
        made: Any = {"accepted": accepted, "escalated": escalated}
        rows = [made[route](number) for route, items in routes.items() for number in range(items)]
        self._put(layout.accepted_results(part, form), to_part(pa.Table.from_pylist(rows, RESULTS), form))

    def _put(self, key: str, data: bytes, seconds_ago: float = 0) -> None:
        self.store.create(key, data)
        at = (NOW - timedelta(seconds=seconds_ago)).timestamp()
        os.utime(self.root / key, (at, at))
