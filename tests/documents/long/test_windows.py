"""Windows over a long document: every token is in one, each shares what it should, and their characters are told."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.long.pieces import LongTokens
from pipelines.documents.long.windows import Window, window_count, windows_of

SIZES = st.integers(2, 60).flatmap(
    lambda size: st.tuples(st.integers(0, 500), st.just(size), st.integers(0, size // 2))
)


def every(chars_per_token: int, tokens: int) -> tuple[str, LongTokens]:
    """A text whose tokens are all of so many characters, none of them ASCII."""
    ids = np.arange(tokens, dtype=np.int32)
    return "ä" * (chars_per_token * tokens), LongTokens(ids, ids * chars_per_token)


def cut(tokens: int, size: int, overlap: int) -> list[Window]:
    return windows_of(*every(3, tokens), size, overlap)


@given(SIZES)
def test_windows_cover_every_token_of_the_document_and_share_what_they_should(sizes: tuple[int, int, int]) -> None:
    tokens, size, overlap = sizes
    windows = cut(tokens, size, overlap)
    covered = {token for each in windows for token in range(each.first_token, each.first_token + each.tokens)}
    assert covered == set(range(tokens))
    assert len(windows) == window_count(tokens, size, overlap)
    assert all(each.tokens <= size for each in windows)
    for one, other in pairwise(windows):
        assert one.tokens == size
        assert one.first_token + one.tokens - other.first_token == overlap < other.tokens


@given(SIZES)
def test_the_windows_characters_are_all_of_the_texts(sizes: tuple[int, int, int]) -> None:
    windows = cut(*sizes)
    assert windows[0].first_char == 0
    assert windows[-1].first_char + windows[-1].chars == 3 * sizes[0]
    assert all(one.first_char + one.chars >= other.first_char for one, other in pairwise(windows))
    assert all((each.chars, each.bytes) == (3 * each.tokens, 6 * each.tokens) for each in windows)


def test_a_window_that_begins_within_a_character_begins_with_it() -> None:
    tokens = LongTokens(np.arange(6, dtype=np.int32), np.array([0, 1, 1, 1, 1, 2], np.int32))
    windows = windows_of("a🙂b", tokens, 3, 0)
    assert [(each.first_char, each.chars) for each in windows] == [(0, 1), (1, 2)]
