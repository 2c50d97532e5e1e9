"""What Claude is shown of a document that it does not take whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.long.excerpts import Excerpt, excerpt_of, excerpt_text

GAP = "\n[...]\n"


def windows(*spans: tuple[int, int]) -> list[dict[str, int]]:
    return [{"first_char": first, "chars": end - first} for first, end in spans]


def test_the_surest_that_fit_are_taken_and_stand_in_the_documents_order() -> None:
    sizes = [100, 100, 100, 100]
    assert excerpt_of(sizes, [3, 0, 2, 1], 250) == Excerpt((0, 3))
    assert excerpt_of(sizes, [3, 0, 2, 1], 10_000) == Excerpt((0, 1, 2, 3))


def test_where_not_even_one_fits_it_is_the_beginning_of_the_surest() -> None:
    excerpt = excerpt_of([100, 100], [1, 0], 64)
    assert excerpt == Excerpt((1,), most_bytes=50)
    text = excerpt_text("ä" * 100, windows((0, 50), (50, 100)), excerpt)
    assert text == GAP + "ä" * 25 + GAP, "no character is cut in half"
    assert len(text.encode()) <= 64


def test_what_is_left_out_is_marked_and_overlaps_are_shown_once() -> None:
    text = "abcdefghij"
    of = windows((0, 4), (3, 7), (6, 10))
    assert excerpt_text(text, of, Excerpt((0, 1))) == "abcdefg" + GAP
    assert excerpt_text(text, of, Excerpt((0, 2))) == "abcd" + GAP + "ghij"
    assert excerpt_text(text, of, Excerpt((1,))) == GAP + "defg" + GAP
    assert excerpt_text(text, of, Excerpt((0, 1, 2))) == text


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(20, 400), st.randoms())
def test_no_excerpt_is_larger_than_its_room(lengths: list[int], room: int, chance: object) -> None:
    ends = [sum(lengths[: at + 1]) for at in range(len(lengths))]
    of = windows(*((end - length, end) for end, length in zip(ends, lengths, strict=True)))
    order = sorted(range(len(of)), key=lambda _: chance.random())  # type: ignore[attr-defined]  # a Random
    excerpt = excerpt_of([2 * length for length in lengths], order, room)
    assert len(excerpt_text("é" * ends[-1], of, excerpt).encode()) <= room


def test_the_row_is_told_which() -> None:
    names = [f"window {place}" for place in range(1, 15)]
    assert Excerpt((2, 8, 9)).in_words(names) == "Claude read window 3, window 9 and window 10, as it takes no more"
    assert Excerpt((2,)).in_words(names) == "Claude read window 3, as it takes no more"
    assert Excerpt((2,), 5_000).in_words(names) == "Claude read the first 5,000 bytes of window 3, as it takes no more"
    assert Excerpt((0,), 5_000).in_words(["it"]) == "Claude read the first 5,000 bytes of it, as it takes no more"
