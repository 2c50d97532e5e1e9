"""A complete run of two shards with items in every route, three of them in `review`, one withheld."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.people.answers import Answer
from pipelines.scored_parts import items_of, scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import PLAN, PREDICTIONS, to_arrow
from tests.made_up_run import accepted, escalated, write_run

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
LABELS = ("billing", "refund")
REVIEW, WITHHELD = (2, 4, 5), 6


def item(number: int) -> str:
    return f"itm_{number:020d}"


def answer(number: int, label: str, person: str = "ann", **given: Any) -> Answer:
    return Answer(
        **({"item_id": item(number), "answer": label, "person": person, "answered_at": AT, "tool": "file"} | given)
    )


def review_run(
    root: Path,
    texts: Mapping[int, str] | None = None,
    job: Mapping[str, Any] | None = None,
    copies: Sequence[Mapping[str, Any]] = (),
    **review: Any,
) -> Store:
    """Items 1 to 7; ``texts`` by number, ``copies`` are more rows, ``review`` is for the rows in `review`."""
    held = {"route": "review", "answer": None, "reason": "Claude declined", "confidence": None} | review
    rows = [
        accepted(1),
        accepted(2, **held),
        escalated(3),
        accepted(4, **held),
        accepted(5, **held),
        accepted(WITHHELD, **held | {"route": "withheld", "reason": "contains_pii == true"}),
        accepted(7),
    ]
    write_run(root, [rows[:4], [*rows[4:], *map(dict, copies)]], job)
    store = Store(str(root))
    for shard, numbers in enumerate(([1, 2, 3, 4], [5, 6, 7])):
        labels = tuple((job or {}).get("labels") or LABELS)
        commit_shard(store, shard, [planned(number, (texts or {}).get(number)) for number in numbers], len(labels))
    return store


def planned(number: int, text: str | None = None) -> dict[str, Any]:
    row = {name: accepted(number)[name] for name in ("item_id", "document_id", "document_uri", "document_offset")}
    return row | {"text": text or f"text of {number}", "tokens": [1]}


def commit_shard(store: Store, shard: int, rows: Sequence[Mapping[str, Any]], labels: int) -> None:
    plan = pa.Table.from_pylist([dict(row) for row in rows], PLAN)
    said = np.log([0.75, *[0.25 / (labels - 1)] * (labels - 1)])
    predictions = [
        {
            "item_id": row["item_id"],
            "label_logprobs": said.tolist(),
            "input_tokens": 9,
            "cached_tokens": 0,
            "output_tokens": 1,
            "device_nanoseconds": 1,
            "scored_at": AT,
        }
        for row in rows
    ]
    store.create(layout.plan_part(shard), to_arrow(plan))
    part = scored_part(items_of(plan), pa.Table.from_pylist(predictions, PREDICTIONS))
    store.create(layout.predictions_part(shard), to_arrow(part))
