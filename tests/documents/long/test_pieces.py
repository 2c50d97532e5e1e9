"""Long texts in pieces: the tokens of the whole text, at their places, in the memory of a few pieces."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipelines.documents.long.pieces import tokenize_long
from workers.engines.catalogue import resolve_model
from workers.engines.tokens import ModelTokenizer

PIECE = 300
WORDS = st.sampled_from(
    ["invoice", "the", "naïve", "don't", "2026", "🙂", "a,b", "漢字かな。次の文", "</document>", "x" * 40]
)
GAPS = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", " \r\n "])


@cache
def starter() -> ModelTokenizer:
    return ModelTokenizer(resolve_model("starter"))


def by_character(texts: list[str]) -> list[tuple[list[int], list[int]]]:
    return [([ord(char) for char in text], list(range(len(text)))) for text in texts]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(WORDS, GAPS), min_size=60, max_size=400))
def test_text_of_words_gives_the_very_tokens_of_the_whole(words: list[tuple[str, str]]) -> None:
    text = "".join(word + gap for word, gap in words)
    found = tokenize_long(text, starter().encode_with_places, PIECE)
    assert found.ids.tolist() == starter().encode_documents([text])[0]
    ((_, places),) = starter().encode_with_places([text])
    assert found.places.tolist() == places


@given(st.text(max_size=400), st.integers(1, 50))
def test_no_character_of_any_text_is_lost_or_doubled(text: str, piece_chars: int) -> None:
    found = tokenize_long(text, by_character, piece_chars)
    assert "".join(map(chr, found.ids.tolist())) == text
    assert found.places.tolist() == list(range(len(text)))


def test_a_text_without_a_single_joint_is_cut_all_the_same() -> None:
    text = "x" * 10 * PIECE
    found = tokenize_long(text, starter().encode_with_places, PIECE)
    assert Tokenizer.from_str(starter().json).decode(found.ids.tolist()) == text
    assert np.all(np.diff(found.places) >= 0)


def test_the_tokenizer_is_never_given_more_than_a_few_pieces_at_a_time() -> None:
    most = 0

    def tokenize(texts: list[str]) -> list[tuple[list[int], list[int]]]:
        nonlocal most
        most = max(most, sum(map(len, texts)))
        return by_character(texts)

    assert len(tokenize_long("word " * 20_000, tokenize, 1_000)) == 100_000
    assert most <= 8_000


@pytest.mark.parametrize("text", ["", "short"])
def test_a_short_text_is_one_piece(text: str) -> None:
    assert tokenize_long(text, by_character).ids.tolist() == [ord(char) for char in text]
