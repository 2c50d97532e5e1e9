"""What a job's `long_documents` comes to: how its documents are read, merged, and shown to Claude."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.documents.long.excerpts import Excerpt, excerpt_of, excerpt_text
from pipelines.documents.long.pieces import TokenizeWithPlaces
from pipelines.documents.long.reading import LongReading
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.long_documents import LongDocuments
from pipelines.scored_parts import is_scored, predictions_of, read_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import WINDOW_ORDER, WINDOWS, from_arrow
from pipelines.tasks.classification import DOCUMENT_MARK
from pipelines.tasks.marks import defused
from pipelines.tasks.window_answers import WindowMerge

_OVERLAP_OF = 8  # of a window; a sentence at a joint is then whole in one of both


def overlap_tokens(section: LongDocuments, room_tokens: int) -> int:
    """How many tokens a window shares with the one before it.

    Args:
        section: of the job.
        room_tokens: of a window.

    Raises:
        JobError: more than half of it, so that nearly all would be read twice and more.
    """
    overlap = room_tokens // _OVERLAP_OF if section.overlap_tokens is None else section.overlap_tokens
    if overlap > room_tokens // 2:
        raise JobError(
            [
                f"long_documents.overlap_tokens: {overlap:,} is more than half of a window, which is {room_tokens:,} "
                f"tokens of this model beside the prompt; give at most {room_tokens // 2:,}, or raise "
                "engine.max_model_len"
            ]
        )
    return overlap


def long_reading(section: LongDocuments, room_tokens: int, tokenize: TokenizeWithPlaces) -> LongReading:
    """How the job's long documents are read.

    Args:
        section: of the job.
        room_tokens: of a document that fit beside the prompt.
        tokenize: texts as the engine reads them.
    """
    return LongReading(
        how=section.how,
        room_tokens=room_tokens,
        overlap_tokens=overlap_tokens(section, room_tokens),
        max_windows=section.max_windows,
        merge=section.merge,
        tokenize=tokenize,
        as_read=_as_read,
    )


def reads_in_windows(job: Job) -> bool:
    """Whether a long document is more than one prompt."""
    return job.long_documents is not None and job.long_documents.how == "windows"


def read_at_once(job: Job, plan: pa.Table) -> pa.Table:
    """Items of a part of the plan less those that are more than one prompt."""
    return plan.filter(pc.is_null(plan[WINDOWS])) if reads_in_windows(job) else plan


def window_merge(job: Job) -> WindowMerge | None:
    """How the answers to windows become one; None where no document is read in windows."""
    section = job.long_documents
    if section is None or not reads_in_windows(job):
        return None
    return WindowMerge(section.merge, None if section.absent is None else list(job.labels).index(section.absent))


def asked_with_long_documents(fingerprint: str, job: Job) -> str:
    """The hash of what is asked, with how long documents are read: of merged answers, earlier runs may know nothing."""
    if job.long_documents is None:
        return fingerprint
    words = f"{fingerprint}\x00{job.long_documents.model_dump_json()}"
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def request_texts(store: Store, shard: int, item_ids: pa.Array[Any] | None, room_bytes: int) -> dict[str, str]:
    """What Claude is shown of each item of a shard that has a text, or of some of them: all of it if it has room."""
    plan = from_arrow(store.read(layout.plan_part(shard)), columns=["item_id", "text", WINDOWS])
    plan = plan.filter(pc.is_valid(plan["text"]))
    if item_ids is not None:
        plan = plan.filter(pc.is_in(plan["item_id"], value_set=item_ids))
    rows = plan.to_pylist()
    excerpts = _excerpts(read_scored_part(store, shard), room_bytes)
    texts: dict[str, str] = {}
    for row in rows:
        text, excerpt = str(row["text"]), excerpts.get(row["item_id"])
        if excerpt is not None:
            text = excerpt_text(_as_read(text), row[WINDOWS] or [_whole(text)], excerpt)
        texts[str(row["item_id"])] = text
    return texts


def told_of_requests(section: LongDocuments, part: pa.Table, room_bytes: int) -> Mapping[str, str]:
    """What Claude was shown of each long document of a shard, in words for its row.

    Args:
        section: of the job.
        part: see `pipelines.scored_parts`.
        room_bytes: for a text, of the tier that was asked.
    """
    excerpts = _excerpts(part, room_bytes)

    def names(windows: Sequence[object] | None) -> Sequence[str]:
        if windows is None:
            return ("it",)
        if section.how == "head_tail":
            return ("the same head", "tail")
        return [f"window {place:,}" for place in range(1, len(windows) + 1)]

    rows = part.select(["item_id", WINDOWS]).to_pylist()
    return {
        row["item_id"]: excerpts[row["item_id"]].in_words(names(row[WINDOWS]))
        if row["item_id"] in excerpts
        else "Claude read all of it"
        for row in rows
        if row[WINDOWS] is not None or row["item_id"] in excerpts
    }


def read_more_than_once(part: pa.Table, frame_tokens: int) -> NDArray[np.float64]:
    """Of each scored item's tokens, those of frames and overlaps that one reading of the whole would not have taken.

    Less than nothing where head and tail are all that was read.

    Args:
        part: see `pipelines.scored_parts`.
        frame_tokens: around every window.
    """
    scored = part.filter(pa.array(is_scored(part)))
    orders = _orders(part)
    return np.array(
        [
            sum(each["tokens"] for each in windows)
            - (windows[-1]["first_token"] + windows[-1]["tokens"])
            + frame_tokens * max(len(orders.get(item_id) or ()) - 1, 0)
            if windows
            else 0
            for item_id, windows in zip(scored["item_id"].to_numpy().tolist(), scored[WINDOWS].to_pylist(), strict=True)
        ],
        np.float64,
    )


def _excerpts(part: pa.Table, room_bytes: int) -> dict[str, Excerpt]:
    """Of each item whose text is over the room, what fits: windows of which the engine was surest first."""
    large = part.filter(pc.greater(part["text_bytes"], pa.scalar(room_bytes)))  # failed ones have none
    orders = _orders(large)
    excerpts = {}
    for row in large.select(["item_id", "text_bytes", WINDOWS]).to_pylist():
        sizes = [each["bytes"] for each in row[WINDOWS] or [{"bytes": row["text_bytes"]}]]
        order = orders.get(row["item_id"]) or list(range(len(sizes)))
        excerpts[row["item_id"]] = excerpt_of(sizes, order, room_bytes)
    return excerpts


def _orders(part: pa.Table) -> dict[str, list[int] | None]:
    if not is_scored(part).any():
        return {}
    predictions = predictions_of(part)
    if WINDOW_ORDER not in predictions.column_names:
        return {}
    ids: list[str] = predictions["item_id"].to_numpy().tolist()
    return dict(zip(ids, predictions[WINDOW_ORDER].to_pylist(), strict=True))


def _whole(text: str) -> dict[str, int]:
    return {"first_char": 0, "chars": len(text)}


def _as_read(text: str) -> str:
    """The text as the engine reads it, by whose characters windows are told."""
    return defused(text, DOCUMENT_MARK)
