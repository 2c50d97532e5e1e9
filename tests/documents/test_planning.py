"""The plan: every document once, in order, in shards of bounded size, the same each time."""

import random
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.planning import PlanLimits, SeenHashes, item_id_of, plan_shards, shard_tokens_for
from pipelines.documents.records import Document, SourceFile
from pipelines.store.schemas import PLAN

LIMITS = PlanLimits(document_tokens=50, shard_tokens=100)


def tokenize(texts: list[str]) -> list[list[int]]:
    return [list(range(len(text))) for text in texts]


def document(number: int, tokens: int | None) -> Document:
    """A document of so many tokens, or with None one that failed."""
    failure = "unreadable" if tokens is None else None
    return Document(f"doc-{number}", "in/a.jsonl", number, None if tokens is None else "x" * tokens, None, failure)


def rows(shards: list[pa.Table]) -> list[dict[str, object]]:
    return [row for shard in shards for row in shard.to_pylist()]


@given(st.lists(st.none() | st.integers(0, 120), max_size=60))
def test_shards_hold_every_document_in_order_exactly_once(sizes: list[int | None]) -> None:
    documents = [document(number, size) for number, size in enumerate(sizes)]
    shards = list(plan_shards(documents, tokenize, LIMITS))
    assert [row["document_id"] for row in rows(shards)] == [document.document_id for document in documents]
    assert all(shard.schema.equals(PLAN) and len(shard) for shard in shards)

    counts = [sum(len(row["tokens"] or ()) for row in shard.to_pylist()) for shard in shards]
    assert all(count < LIMITS.shard_tokens + LIMITS.document_tokens for count in counts)
    assert all(count >= LIMITS.shard_tokens for count in counts[:-1])


@given(st.lists(st.none() | st.integers(0, 120), max_size=30))
def test_the_same_documents_give_the_same_plan(sizes: list[int | None]) -> None:
    def plan() -> list[pa.Table]:
        return list(plan_shards((document(n, size) for n, size in enumerate(sizes)), tokenize, LIMITS))

    assert all(one.equals(other) for one, other in zip(plan(), plan(), strict=True))


def test_a_shard_is_also_full_by_its_number_of_items() -> None:
    shards = list(plan_shards((document(number, 0) for number in range(5_000)), tokenize, LIMITS))
    assert [len(shard) for shard in shards] == [2_048, 2_048, 904]


def test_a_shard_is_also_full_by_what_is_to_be_written_about_its_items() -> None:
    limits = PlanLimits(document_tokens=50, shard_tokens=1_000_000, written_tokens=20_000)
    shards = list(plan_shards([document(number, 1) for number in range(40)], tokenize, limits))
    assert [len(shard) for shard in shards] == [18, 18, 4], "a million tokens, three for each that is written"


def test_nothing_gives_no_shard() -> None:
    assert list(plan_shards([], tokenize, LIMITS)) == []


def test_shards_come_while_documents_are_still_read() -> None:
    read = 0

    def documents() -> object:
        nonlocal read
        for number in range(100_000):
            read += 1
            yield document(number, 1)

    next(plan_shards(documents(), tokenize, LIMITS))  # type: ignore[arg-type]  # what it gives is never looked at
    assert read <= 1_024


def test_a_document_over_the_limit_is_cut_and_says_so() -> None:
    limits = PlanLimits(document_tokens=1_000, shard_tokens=10_000)
    (shard,) = plan_shards([document(0, 1_000), document(1, 12_345)], tokenize, limits)
    fits, cut = shard.to_pylist()
    assert (len(fits["tokens"]), fits["note"]) == (1_000, None)
    assert cut["tokens"] == list(range(1_000))
    assert cut["note"] == "cut: the engine read the first 1,000 of 12,345 tokens (limit: the model's context)"
    assert len(cut["text"]) == 12_345  # Claude gets the whole text


def test_what_a_reader_notes_of_a_document_is_in_its_row() -> None:
    documents = [replace(document(0, 10), note="read as U+FFFD"), replace(document(1, 60), note="read as U+FFFD")]
    fits, cut = rows(list(plan_shards(documents, tokenize, LIMITS)))
    assert fits["note"] == "read as U+FFFD"
    assert isinstance(cut["note"], str) and cut["note"].startswith("cut: ")
    assert cut["note"].endswith("; read as U+FFFD")


def test_a_failed_document_keeps_its_reason_and_has_neither_text_nor_tokens() -> None:
    (shard,) = plan_shards([document(0, None), document(1, 0)], tokenize, LIMITS)
    failed, empty = shard.to_pylist()
    assert (failed["failure"], failed["text"], failed["tokens"]) == ("unreadable", None, None)
    assert (empty["failure"], empty["text"], empty["tokens"]) == (None, "", [])


def test_the_second_document_of_an_id_fails_and_is_told_where_it_stands() -> None:
    documents = [
        Document("7", "in/a.jsonl", 1, "one", gold_label="billing"),
        Document("8", "in/a.jsonl", 2, "two"),
        Document("7", "in/b.jsonl", 9, "three", gold_label="billing"),
        Document("8", "in/b.jsonl", 10, None, failure="line 10 is broken"),
    ]
    (shard,) = plan_shards(documents, tokenize, LIMITS)
    assert shard["failure"].to_pylist() == [
        None,
        None,
        "in/b.jsonl:9: id '7' was there before; give each document its own id",
        "line 10 is broken",
    ]
    assert shard["tokens"].to_pylist()[2] is None
    assert shard["text"].to_pylist()[2] is None
    assert len(set(shard["item_id"].to_pylist())) == 4


def test_item_ids_are_stable_and_depend_on_the_place_alone() -> None:
    one = Document("any", "s3://inbox/a.jsonl", 7, "text")
    assert item_id_of(one) == "itm_62576a92b264463274f2"
    assert item_id_of(Document("other", one.document_uri, one.document_offset, None, None, "broken")) == item_id_of(one)


@given(st.sets(st.tuples(st.text(), st.integers(0, 10**6)), max_size=50))
def test_items_at_different_places_have_different_ids(places: set[tuple[str, int]]) -> None:
    ids = {item_id_of(Document("x", uri, offset, "")) for uri, offset in places}
    assert len(ids) == len(places)


@pytest.mark.parametrize(
    ("size_bytes", "tokens"), [(0, 4_096), (4_096 * 128 * 4, 4_096), (10_000 * 128 * 4, 10_000), (10**12, 1_048_576)]
)
def test_shard_size_follows_the_input_within_bounds(size_bytes: int, tokens: int) -> None:
    halves = [SourceFile("a", "a", size_bytes // 2, ""), SourceFile("b", "b", size_bytes - size_bytes // 2, "")]
    assert shard_tokens_for(halves) == tokens


def test_seen_hashes_agree_with_a_set() -> None:
    source = random.Random(7)
    values = [source.getrandbits(64) for _ in range(170_000)]
    values += [*source.choices(values, k=30_000), 0, 2**64 - 1, 0, 2**64 - 1]
    source.shuffle(values)
    seen, expected = SeenHashes(), set[int]()
    for batch in np.split(np.array(values, np.uint64), sorted(source.sample(range(len(values)), 400))):
        were_there = []
        for value in batch.tolist():
            were_there.append(value in expected)
            expected.add(value)
        assert seen.add(batch) == were_there


def test_seen_hashes_take_little_memory_for_each_id() -> None:
    source = random.Random(7)
    full_sets = 2 * 65_536  # right after the last small set became an array
    tracemalloc.start()
    seen = SeenHashes()
    for _ in range(full_sets // 512):
        seen.add(np.array([source.getrandbits(64) for _ in range(512)], np.uint64))
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used_bytes / full_sets < 10
    assert seen.add(np.array([1, 1], np.uint64)) == [False, True]


def test_shards_are_about_equal() -> None:
    shards = list(plan_shards((document(number, 7) for number in range(1_000)), tokenize, LIMITS))
    assert all(len(one) == len(other) for one, other in pairwise(shards[:-1]))
