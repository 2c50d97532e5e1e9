"""Whether two long lists hold the same items, each as often: a sum over hashes of ids, in memory for one list entry.

For ten million items a set of their ids would take a gigabyte. Equal sums of 128-bit hashes, whatever the order and
the parts, are the same items: one row too few here and one too many there does not add up to nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_MODULUS = 1 << 128


class ItemSum:
    """The sum of the ids seen so far."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, item_ids: Iterable[str]) -> None:
        """Take in some ids, each as often as it is there."""
        hashes = (hashlib.blake2b(item_id.encode(), digest_size=16).digest() for item_id in item_ids)
        self._sum = (self._sum + sum(int.from_bytes(digest, "little") for digest in hashes)) % _MODULUS

    def __str__(self) -> str:
        return f"{self._sum:032x}"
