"""Token ids of texts by way of their words: what a word was encoded to is looked up when it comes again.

The library takes longer about a word than a dictionary does, though it remembers words too: for each it keeps offsets,
alignments and a string a token, which nobody here reads. Exact, and for tokenizers alone of which that is known: see
`encodes_words_apart`. Knows nothing of models and their files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

TokenIds = NDArray[np.int32]

# A space between two printable characters of ASCII; what begins after it is a word, up to the next such space.
_SPACE = re.compile(r" (?<=[!-~] )(?=[!-~])")
# Stands before the first word of a text, which no space is before; no other word begins with it.
_FIRST = "\n"
# Where more of the words are new, as in codes or texts without spaces, looking them up gains nothing.
_MOST_NEW_SHARE = 0.5
# Of the words that are remembered, all together: some 300,000 words, in some 45 MB.
_MOST_CHARACTERS = 2_000_000

# Of Qwen 2 to 3.5 and Llama 3. None of them goes on over a space that is not its first character (but where all that it
# holds is white space), and none looks back: whatever stands before a `_SPACE`, a new piece begins there.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PIECES = frozenset(
    {
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
        r"\p{N}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    }
)


def encodes_words_apart(tokenizer: Mapping[str, Any]) -> bool:
    """Whether the ids of a text are those of its words, one after the other; False where that is not known.

    Args:
        tokenizer: content of its tokenizer.json, of which no added token is looked for.
    """
    normalizer, cutter, model = (tokenizer.get(name) or {} for name in ("normalizer", "pre_tokenizer", "model"))
    match cutter.get("pretokenizers", ()):
        case [
            {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            pieces = set(pattern.removeprefix(f"{_CONTRACTIONS}|").split("|"))
        case _:
            return False
    is_plain = model.get("type") == "BPE" and not model.get("dropout")
    # Composing accents (NFC) reaches over no printable character of ASCII.
    return is_plain and normalizer.get("type", "NFC") == "NFC" and r"\s+" in pieces and pieces <= _PIECES


class WordTokens:
    """Remembers the ids of words. Threads may share it."""

    def __init__(self, encode: Callable[[list[str]], list[TokenIds]]) -> None:
        """``encode`` takes texts, of a tokenizer that encodes words apart."""
        self._encode = encode
        self._known: dict[str, bytes] = {}
        self._characters = 0

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """Token ids of each text, as ``encode`` would give them."""
        known = self._known
        words_of_texts = [_words(text) for text in texts]
        new = list(set(chain.from_iterable(words_of_texts)).difference(known))
        if len(new) > _MOST_NEW_SHARE * sum(map(len, words_of_texts)):
            return self._encode(texts)
        encoded = self._encode([word[1:] if word[0] == _FIRST else f" {word}" for word in new])
        known.update(zip(new, (ids.tobytes() for ids in encoded), strict=True))
        self._characters += sum(map(len, new))
        if self._characters > _MOST_CHARACTERS:
            self._known, self._characters = {}, 0  # another dictionary: whoever still reads this one finds its words
        return [np.frombuffer(b"".join(map(known.__getitem__, words)), np.int32) for words in words_of_texts]


def _words(text: str) -> list[str]:
    words = _SPACE.split(text)
    words[0] = _FIRST + words[0]
    return words
