"""What the engine reads of a long document, and what its row says: nothing is cut in silence."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from pipelines.documents.long.reading import LEFT_OUT_MARK, LongReading, Read
from pipelines.documents.planning import PlanLimits, plan_shards
from pipelines.documents.records import Document
from pipelines.store.schemas import PLAN, WINDOW_LIST, WINDOWS

REPOSITORY = Path(__file__).parents[3]
ROOM = 100


def by_character(texts: list[str]) -> list[tuple[list[int], list[int]]]:
    return [([ord(char) for char in text], list(range(len(text)))) for text in texts]


def ids(read: Read) -> list[int]:
    return [] if read.tokens is None else list(read.tokens)


def reading(how: Literal["windows", "head_tail", "refuse"], max_windows: int = 10) -> LongReading:
    return LongReading(how, ROOM, 20, max_windows, "mean", by_character, str.upper)


def test_a_document_that_fits_is_read_as_ever() -> None:
    for how in ("windows", "head_tail", "refuse"):
        read = reading(how).read("x" * ROOM, "in/a.txt:0")  # type: ignore[arg-type]  # one of the three
        assert (len(ids(read)), read.work_tokens) == (ROOM, ROOM)
        assert read.windows is read.note is read.failure is None


def test_windows_are_told_with_what_they_share() -> None:
    read = reading("windows").read("x" * 250, "in/a.txt:0")
    assert [(each.first_token, each.tokens) for each in read.windows or ()] == [(0, 100), (80, 100), (160, 90)]
    assert (len(ids(read)), read.work_tokens) == (250, 290)
    assert ids(read)[:1] == [ord("X")], "the text as it stands in the prompt"
    assert read.note == (
        "read in 3 windows of up to 100 tokens (250 tokens, 20 of each shared with the one before; answer: mean)"
    )


def test_more_windows_than_the_job_allows_fail_with_the_limit_and_the_next_move() -> None:
    read = reading("windows", max_windows=2).read("x" * 250, "in/a.txt:0")
    assert read.tokens is None
    assert read.failure == (
        "in/a.txt:0: is 250 tokens long, which are 3 windows of 100, and long_documents.max_windows is 2; raise it or "
        "engine.max_model_len, or split the document"
    )


def test_head_and_tail_stand_on_both_sides_of_a_mark_and_the_row_says_what_is_left_out() -> None:
    text = "".join(chr(ord("A") + place % 26) for place in range(1_234))
    read = reading("head_tail").read(text, "in/a.txt:0")
    kept = ROOM - len(LEFT_OUT_MARK)
    head, tail = text[: -(-kept // 2)], text[-(kept // 2) :]
    assert "".join(map(chr, ids(read))) == head + LEFT_OUT_MARK + tail
    assert len(ids(read)) == ROOM == read.work_tokens
    assert read.note == (
        f"head and tail: the engine read the first {len(head)} and the last {len(tail)} of 1,234 tokens, and "
        f"{1_234 - kept:,} between them are left out (limit: the model's context)"
    )
    assert [(each.first_token, each.tokens) for each in read.windows or ()] == [
        (0, len(head)),
        (1_234 - len(tail), len(tail)),
    ]


def test_refused_with_its_length_the_limit_and_the_next_move() -> None:
    read = reading("refuse").read("x" * 1_234, "in/a.txt:0")
    assert read.failure == (
        "in/a.txt:0: is 1,234 tokens long, and the model reads 100 of a document at once (long_documents.how is "
        "refuse); choose windows or head_tail, split it, or raise engine.max_model_len"
    )


def test_the_plan_holds_a_long_document_once_with_its_windows_and_its_shard_is_full_by_what_is_read() -> None:
    documents = [Document(f"doc-{n}", "in/a.jsonl", n, "x" * size) for n, size in enumerate((50, 250, 40_000, 10))]
    documents[1] = replace(documents[1], note="read as U+FFFD")
    shards = list(
        plan_shards(
            documents,
            lambda texts: [list(range(len(text))) for text in texts],
            PlanLimits(ROOM, 300),
            long=reading("windows"),
        )
    )
    assert [len(shard) for shard in shards] == [2, 2], "50 and 290 tokens are more than 300"
    rows = [row for shard in shards for row in shard.to_pylist()]
    assert shards[0].schema.remove(shards[0].schema.get_field_index(WINDOWS)).equals(PLAN)
    assert shards[0].schema.field(WINDOWS).type == WINDOW_LIST
    assert [row[WINDOWS] and len(row[WINDOWS]) for row in rows] == [None, 3, None, None]
    assert [row["text"] and len(row["text"]) for row in rows] == [50, 250, None, 10]
    assert rows[1]["note"].endswith("answer: mean); read as U+FFFD")
    assert rows[2]["tokens"] is None and rows[2]["failure"].startswith("in/a.jsonl:2: is 40,000 tokens long")


_PLAN_FOUR = """
import resource
from pipelines.documents.long.reading import LongReading
from pipelines.documents.planning import PlanLimits, plan_shards
from pipelines.documents.records import Document
from workers.engines.catalogue import resolve_model
from workers.engines.tokens import ModelTokenizer

tokenizer = ModelTokenizer(resolve_model("starter"))
reading = LongReading("windows", 1700, 212, 256, "mean", tokenizer.encode_with_places, str)
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
documents = (Document(f"doc-{n}", "in", n, f"invoice {n} is due, and the lights are out. " * 20_000) for n in range(4))
before = most()
shards = plan_shards(documents, tokenizer.encode_documents, PlanLimits(1700, 100_000), long=reading)
print(sum(len(shard["tokens"][0].values) for shard in shards), most() - before)
"""


@pytest.mark.prove
def test_several_documents_of_200_000_tokens_are_planned_in_bounded_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PLAN_FOUR], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    tokens, grown_mb = map(int, done.stdout.split())
    assert tokens > 4 * 200_000
    assert grown_mb < 100, "tokenised whole, each takes 120 MB"
