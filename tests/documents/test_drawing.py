"""A drawn sample: every document as likely as any other, all of them counted, the same again with the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipelines.documents.drawing import draw
from pipelines.documents.records import Document, LeftOut


def documents(count: int, failed: int = 0) -> Iterator[Document | LeftOut]:
    yield LeftOut("in", ".hidden", "hidden", "a hidden file")
    for number in range(count):
        yield Document(f"d{number}", "in.jsonl", number, f"text {number}")
    for number in range(failed):
        yield Document(f"f{number}", "in.jsonl", count + number, None, failure="not UTF-8")


def odd(document: Document) -> str | None:
    return "odd" if document.document_offset % 2 else None


def test_all_are_counted_and_only_what_could_be_read_is_drawn_in_the_inputs_order() -> None:
    drawn = draw(documents(1_000, failed=7), 50, odd, seed=1)
    assert (drawn.total, drawn.failed, drawn.withheld) == (1_007, 7, 500)
    assert (drawn.answerable, drawn.may_be_sent) == (1_000, 500)
    offsets = [document.document_offset for document in drawn.documents]
    assert len(set(offsets)) == 50
    assert offsets == sorted(offsets)
    assert drawn == draw(documents(1_000, failed=7), 50, odd, seed=1)


def test_every_document_is_as_likely_as_any_other() -> None:
    hits = Counter(
        document.document_offset
        for seed in range(2_000)
        for document in draw(documents(20), 5, lambda _: None, seed).documents
    )
    assert len(hits) == 20
    assert all(abs(count - 500) < 100 for count in hits.values()), "five standard deviations"


def test_of_few_all_are_drawn() -> None:
    assert len(draw(documents(3), 50, odd, seed=1).documents) == 3
