"""Documents of the same text, of which only the first is asked about.

The same is what differs in nothing but white space and in how accents are composed (Unicode's NFC). What a policy holds
back and what it does not are never copies of each other: no withheld document rides on an answer that was asked of
somebody else, and none makes a document that may be sent stay. So a text is scored twice at most.

Memory: 26 bytes for each text, 16 of them of a hash that no two of ten million texts share.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_KEY_BYTES, _ID_BYTES = 16, 10
_ENTRY = f"S{_KEY_BYTES + _ID_BYTES}"


def text_key(text: str, *, is_withheld: bool) -> bytes:
    """The same for the same text."""
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    # Of white space, the space alone is printable: a line without double ones is plain as it is, which saves time.
    is_plain = composed.isprintable() and "  " not in composed
    plain = composed.strip() if is_plain else " ".join(composed.split())
    data = plain.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=_KEY_BYTES, person=b"withheld" if is_withheld else b"").digest()


class Originals:
    """The first item of each text so far: new ones gather in a dictionary, full ones become sorted arrays.

    An entry of an array is a key with the id behind it.
    """

    _RECENT = 65_536

    def __init__(self) -> None:
        self._recent: dict[bytes, bytes] = {}
        self._sorted: list[NDArray[np.bytes_]] = []

    def originals_of(self, keys: Sequence[bytes], item_ids: Sequence[str]) -> list[str | None]:
        """For each item the first of its text, which is remembered; None where it is the first itself."""
        if not keys:
            return []
        originals: list[str | None] = []
        for key, item_id, known in zip(keys, item_ids, self._search(keys), strict=True):
            own = bytes.fromhex(item_id[4:])
            original = known if known is not None else self._recent.setdefault(key, own)
            originals.append(None if original == own else f"itm_{original.hex()}")
        if len(self._recent) >= self._RECENT:
            self._spill()
        return originals

    def _search(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = [None] * len(keys)
        sought = np.array(keys, _ENTRY)  # zeros where an id would be: not after any entry of the key
        wanted = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, _KEY_BYTES)
        for known in self._sorted:
            entries = known[np.minimum(np.searchsorted(known, sought), len(known) - 1)]
            there = np.frombuffer(entries.tobytes(), np.uint8).reshape(-1, _KEY_BYTES + _ID_BYTES)
            for place in np.flatnonzero((there[:, :_KEY_BYTES] == wanted).all(axis=1)).tolist():
                found[place] = there[place, _KEY_BYTES:].tobytes()
        return found

    def _spill(self) -> None:
        newest = np.array([key + item_id for key, item_id in self._recent.items()], _ENTRY)
        self._recent = {}
        while self._sorted and len(self._sorted[-1]) <= len(newest):
            newest = np.concatenate([self._sorted.pop(), newest])
        newest.sort(kind="stable")  # in place, and quick where parts are in order
        self._sorted.append(newest)
