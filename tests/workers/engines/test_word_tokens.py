"""Texts encoded by way of their words against whole texts: the same ids, whatever the text and what came before."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from workers.engines import word_tokens
from workers.engines.tokens import TextTokenizer
from workers.engines.word_tokens import TokenIds, WordTokens, encodes_words_apart

SAMPLE_DATA = Path(__file__).parents[3] / "sample_data"
QWEN_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_35 = QWEN_3.replace(r"\p{L}+|", r"[\p{L}\p{M}]+|").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
LLAMA_3 = QWEN_3.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
STARTER = QWEN_3.replace(r"|\s+(?!\S)", "")
PATTERNS = {"starter": STARTER, "Qwen 3": QWEN_3, "Qwen 3.5": QWEN_35, "Llama 3": LLAMA_3}

SPECIAL = "<|im_end|>"
# What the patterns tell apart, and what tells words apart; the last ones are no space, a mark, an added token.
SAMPLES = [" ", "  ", "\n", "\r\n", "\t", "a", "the", "Bill", "I'Ll", "don't", "5", "1234", ".", "!?", "({", "é", "ü",
           "e\u0301", "\u0301", "中文", "\xa0", "\u2003", "\x85", "\0", "\x7f", "\u017f", "😀", SPECIAL]  # fmt: skip
TEXTS = st.one_of(st.lists(st.sampled_from(SAMPLES), max_size=20).map("".join), st.text(max_size=40))


@cache
def tokenizer_json(pattern: str, normalizer: str | None = "NFC") -> str:
    """The starter model's tokenizer with another model's way of cutting texts."""
    content = json.loads((SAMPLE_DATA / "starter_model" / "tokenizer.json").read_text(encoding="utf-8"))
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern
    content["normalizer"] = {"type": normalizer} if normalizer else None
    return json.dumps(content)


@cache
def whole(pattern: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(tokenizer_json(pattern))
    tokenizer.encode_special_tokens = True
    return tokenizer


@cache
def by_words(pattern: str) -> TextTokenizer:
    """Shared, so that it has seen the words of the examples before."""
    return TextTokenizer(tokenizer_json(pattern))


@pytest.mark.parametrize("name", PATTERNS)
@given(texts=st.lists(TEXTS, max_size=6))
def test_the_ids_are_those_of_the_whole_text(name: str, texts: list[str]) -> None:
    again = [*texts, *texts, " ".join(texts)]  # half of the words are surely not new
    expected = [whole(PATTERNS[name]).encode(text, add_special_tokens=False).ids for text in again]
    assert by_words(PATTERNS[name]).encode_documents(again) == expected


def recorded() -> tuple[WordTokens, list[list[str]]]:
    """A stand-in for the library: a word's ids are its characters; what it is asked is kept."""
    asked: list[list[str]] = []

    def encode(texts: list[str]) -> list[TokenIds]:
        asked.append(texts)
        return [np.array([ord(char) for char in text], np.int32) for text in texts]

    return WordTokens(encode), asked


def decoded(arrays: list[TokenIds]) -> list[str]:
    return ["".join(map(chr, ids)) for ids in arrays]


def test_a_word_is_encoded_once() -> None:
    words, asked = recorded()
    texts = ["pay the bill", "the bill the bill", "", "pay the bill pay"]
    assert decoded(words.encode(texts)) == texts
    assert sorted(asked[0]) == ["", " bill", " pay", " the", "pay", "the"]
    assert decoded(words.encode(["pay the pay"])) == ["pay the pay"]
    assert asked[1] == []


def test_a_space_beside_what_is_not_printable_ascii_is_within_a_word() -> None:
    words, asked = recorded()
    plain = "pay" + " the bill" * 20
    texts = [plain, "  pay the\n bill \u00fc the bill ", "pay  the bill", " ", "\nbill \n"]
    assert decoded(words.encode(texts)) == texts
    odd = ["  pay", " the\n bill \u00fc the", " bill ", "pay  the", " ", "\nbill \n"]
    assert sorted(asked[0]) == sorted(["pay", " the", " bill", *odd])


def test_texts_of_new_words_are_encoded_whole_and_not_remembered() -> None:
    words, asked = recorded()
    texts = ["a b c", "d e f"]
    assert decoded(words.encode(texts)) == texts
    assert decoded(words.encode(texts)) == texts
    assert asked == [texts, texts]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_tokens, "_MOST_CHARACTERS", 20)
    words, asked = recorded()
    for _ in range(2):
        assert decoded(words.encode(["abcdef abcdef abcdef abcdef abcdef"])) == ["abcdef abcdef abcdef abcdef abcdef"]
    assert asked[1] == []
    assert decoded(words.encode(["ghijkl ghijkl ghijkl ghijkl ghijkl"])) == ["ghijkl ghijkl ghijkl ghijkl ghijkl"]
    assert decoded(words.encode(["abcdef abcdef abcdef abcdef abcdef"])) == ["abcdef abcdef abcdef abcdef abcdef"]
    assert len(asked[3]) == 2


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    content: Any = json.loads(tokenizer_json(QWEN_3))
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return dict(content)


@pytest.mark.parametrize("pattern", PATTERNS.values())
def test_tokenizers_that_cut_like_qwen_encode_words_apart(pattern: str) -> None:
    assert encodes_words_apart(json.loads(tokenizer_json(pattern)))
    assert encodes_words_apart(json.loads(tokenizer_json(pattern, normalizer=None)))


@pytest.mark.parametrize(
    "content",
    [
        json.loads(
            (SAMPLE_DATA / "review_model" / "tokenizer.json").read_text(encoding="utf-8")
        ),  # sentences are one piece
        changed("normalizer", to={"type": "NFKC"}),
        changed("normalizer", to={"type": "Sequence", "normalizers": []}),
        changed("model", "type", to="Unigram"),
        changed("model", "dropout", to=0.1),
        changed("pre_tokenizer", to=None),
        changed("pre_tokenizer", to={"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}),
        changed("pre_tokenizer", "pretokenizers", 1, "add_prefix_space", to=True),
        changed("pre_tokenizer", "pretokenizers", 0, "behavior", to="MergedWithNext"),
        changed("pre_tokenizer", "pretokenizers", 0, "pattern", to={"String": " "}),
        changed("pre_tokenizer", "pretokenizers", 0, "pattern", to={"Regex": QWEN_3 + r"|of course"}),
        changed("pre_tokenizer", "pretokenizers", 0, "pattern", to={"Regex": r"\p{N}"}),
        {},
    ],
)
def test_of_others_it_is_not_known(content: dict[str, Any]) -> None:
    assert not encodes_words_apart(content)
