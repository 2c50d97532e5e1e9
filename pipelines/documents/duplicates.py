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


def text_key(text: str, *, is_withheld: bool) -> bytes:
    """The same for the same text."""
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    plain = " ".join(composed.split()).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(plain, digest_size=_KEY_BYTES, person=b"withheld" if is_withheld else b"").digest()


class Originals:
    """The first item of each text so far: new ones gather in a dictionary, full ones become sorted arrays."""

    _RECENT = 65_536

    def __init__(self) -> None:
        self._recent: dict[bytes, bytes] = {}
        self._sorted: list[tuple[NDArray[np.bytes_], NDArray[np.bytes_]]] = []

    def originals_of(self, keys: Sequence[bytes], item_ids: Sequence[str]) -> list[str | None]:
        """For each item the first of its text, which is remembered; None where it is the first itself."""
        if not keys:
            return []
        found = self._search(np.array(keys, f"S{_KEY_BYTES}"))
        originals: list[str | None] = []
        for key, item_id, known in zip(keys, item_ids, found, strict=True):
            own = bytes.fromhex(item_id[4:])
            original = known if known is not None else self._recent.setdefault(key, own)
            originals.append(None if original == own else f"itm_{original.hex()}")
        if len(self._recent) >= self._RECENT:
            self._spill()
        return originals

    def _search(self, keys: NDArray[np.bytes_]) -> list[bytes | None]:
        found: list[bytes | None] = [None] * len(keys)
        for known, ids in self._sorted:
            places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            for place in np.flatnonzero(known[places] == keys).tolist():
                found[place] = bytes(ids[places[place]]).ljust(_ID_BYTES, b"\0")  # numpy drops zeros at the end
        return found

    def _spill(self) -> None:
        keys = np.array(list(self._recent), f"S{_KEY_BYTES}")
        ids = np.array(list(self._recent.values()), f"S{_ID_BYTES}")
        self._recent = {}
        self._sorted.append(_in_order(keys, ids))
        while len(self._sorted) > 1 and len(self._sorted[-2][0]) <= len(self._sorted[-1][0]):
            (newest, newest_ids), (older, older_ids) = self._sorted.pop(), self._sorted.pop()
            self._sorted.append(_in_order(np.concatenate([older, newest]), np.concatenate([older_ids, newest_ids])))


def _in_order(keys: NDArray[np.bytes_], ids: NDArray[np.bytes_]) -> tuple[NDArray[np.bytes_], NDArray[np.bytes_]]:
    order = np.argsort(keys, kind="stable")
    return keys[order], ids[order]
