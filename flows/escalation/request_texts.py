"""What Claude is sent about an item, and how its answer about that item is read: a document, or code and candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flows.run import Run
from pipelines.documents.code.shown import LineMap
from pipelines.escalation.endings import ReadAnswer, label_reader
from pipelines.escalation.journal import ChunkDraft
from pipelines.escalation.review_answers import review_reader
from pipelines.store import layout
from pipelines.store.schemas import FINDING, from_arrow
from pipelines.tasks.code_review.findings import Finding
from pipelines.tasks.code_review.prompts import claude_text


def request_texts(run: Run, shard: int, item_ids: pa.Array[Any] | None = None) -> dict[str, str]:
    """The user message about each item of a shard, or about some of them; the same whenever it is asked for."""
    texts = _plan_texts(run, shard, item_ids)
    if not run.job.review:
        return texts
    candidates = _candidates(run, shard) if run.has_engine else {}
    return {item_id: claude_text(text, candidates.get(item_id, ())) for item_id, text in texts.items()}


def answer_readers(run: Run, draft: ChunkDraft) -> Callable[[str], ReadAnswer]:
    """How the answer about each item of a message batch is read."""
    if not run.job.review:
        read = label_reader(tuple(run.job.labels))
        return lambda _item_id: read
    texts: dict[str, str] = {}
    for shard in draft.shards:
        texts.update(_plan_texts(run, shard, pa.array(draft.item_ids)))
    return lambda item_id: review_reader(LineMap.of(texts[item_id]))


def _plan_texts(run: Run, shard: int, item_ids: pa.Array[Any] | None) -> dict[str, str]:
    plan = from_arrow(run.store.read(layout.plan_part(shard)), columns=["item_id", "text"])
    plan = plan.filter(pc.is_valid(plan["text"]))
    if item_ids is not None:
        plan = plan.filter(pc.is_in(plan["item_id"], value_set=item_ids))
    return {str(row["item_id"]): str(row["text"]) for row in plan.to_pylist()}


def _candidates(run: Run, shard: int) -> dict[str, list[Finding]]:
    names = [field.name for field in FINDING]
    rows = from_arrow(run.store.read(layout.predictions_part(shard)), columns=["item_id", "findings"]).to_pylist()
    return {
        row["item_id"]: [Finding(**{name: found[name] for name in names}) for found in row["findings"]] for row in rows
    }
