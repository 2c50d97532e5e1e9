"""Token ids of texts by way of their words: what a word was encoded to is looked up when it comes again.

The library takes longer about a word than a dictionary does, though it remembers words too: for each it keeps offsets,
alignments and a string a token, which nobody here reads. Exact, and for tokenizers alone of which that is known: see
`encodes_words_apart`. Knows nothing of models and their files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

TokenIds = NDArray[np.int32]

# A word begins after a space between two printable characters of ASCII, and ends before the next such space.
_PRINTABLE = np.zeros(256, np.bool_)
_PRINTABLE[ord("!") : ord("~") + 1] = True
# Stands before the first word of a text, which no space is before; no other word begins with it.
_FIRST = "\n"
# Where more of the words are new, as in codes or texts without spaces, looking them up gains nothing.
_MOST_NEW_SHARE = 0.5
# Of the words that are remembered, all together: some 300,000 words, in some 45 MB.
_MOST_CHARACTERS = 2_000_000

# Of Qwen 2 to 3.5 and Llama 3. None of them goes on over a space that is not its first character (but where all that it
# holds is white space), and none looks back: whatever stands before a word's space, a new piece begins there.
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
        words, of_texts, first_of_text = _words(texts)
        ids = list(map(known.get, words))
        is_used = np.zeros(len(words), np.bool_)
        is_used[of_texts] = True
        new = [place for place, found in enumerate(ids) if found is None and is_used[place]]
        if len(new) > _MOST_NEW_SHARE * len(of_texts):
            return self._encode(texts)
        encoded = self._encode([_as_in_a_text(words[place]) for place in new])
        for place, found in zip(new, encoded, strict=True):
            ids[place] = known[words[place]] = found.tobytes()
        self._characters += sum(len(words[place]) for place in new)
        if self._characters > _MOST_CHARACTERS:
            self._known, self._characters = {}, 0  # another dictionary: whoever still reads this one finds its words
        in_a_row, ends = _in_a_row([found or b"" for found in ids], of_texts)
        return [in_a_row[first:end] for first, end in pairwise(ends[first_of_text].tolist())]


def _as_in_a_text(word: str) -> str:
    return word[1:] if word[:1] == _FIRST else f" {word}"


def _words(texts: list[str]) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Words, each at least once; those of the texts by their places among these; at which of them each text begins.

    The last number is that of all words of the texts.
    """
    cut = pc.split_pattern(pa.array([_FIRST + text for text in texts], pa.string()), " ")
    encoded = cut.values.dictionary_encode()
    pieces: list[str] = encoded.dictionary.to_numpy(zero_copy_only=False).tolist()
    of_texts, firsts = encoded.indices.to_numpy().astype(np.int64), cut.offsets.to_numpy()
    begins, ends = _printable_edges(encoded.dictionary)
    is_begun = np.ones(len(of_texts), np.bool_)  # of each piece: whether a word begins with it
    is_begun[1:] = ends[of_texts[:-1]] & begins[of_texts[1:]]
    is_begun[firsts[:-1]] = True
    at = np.flatnonzero(is_begun)
    ends_at = np.append(at[1:], len(of_texts))
    words = of_texts[at]
    several = np.flatnonzero(ends_at - at > 1)  # words of several pieces
    in_a_row = of_texts.tolist() if len(several) else []
    with_spaces: dict[str, int] = {}
    for place, first, end in zip(several.tolist(), at[several].tolist(), ends_at[several].tolist(), strict=True):
        word = " ".join([pieces[piece] for piece in in_a_row[first:end]])
        words[place] = with_spaces.setdefault(word, len(pieces) + len(with_spaces))
    return [*pieces, *with_spaces], words, np.searchsorted(at, firsts)


def _printable_edges(pieces: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each piece of an Arrow array, whether it begins, and whether it ends, with a printable character of ASCII."""
    _, offsets, data = pieces.buffers()
    bounds = pa.Array.from_buffers(pa.int32(), len(pieces) + 1, [None, offsets]).to_numpy()
    text = pa.Array.from_buffers(pa.uint8(), bounds[-1], [None, data]).to_numpy()
    is_printable = np.append(_PRINTABLE[text], False)  # the last one is for the edges of an empty piece
    is_empty = bounds[1:] == bounds[:-1]
    first, last = (np.where(is_empty, -1, edge) for edge in (bounds[:-1], bounds[1:] - 1))
    return is_printable[first], is_printable[last]


def _in_a_row(ids: list[bytes], chosen: NDArray[np.int64]) -> tuple[TokenIds, NDArray[np.int32]]:
    """The ids of the chosen, one after the other; where each begins among these, and behind the last where it ends."""
    bounds = np.cumsum([0, *map(len, ids)], dtype=np.int32) // np.dtype(np.int32).itemsize
    lists = pa.ListArray.from_arrays(
        pa.array(bounds, pa.int32()), pa.array(np.frombuffer(b"".join(ids), np.int32), pa.int32())
    )
    taken = lists.take(chosen)
    return taken.values.to_numpy(), taken.offsets.to_numpy()
