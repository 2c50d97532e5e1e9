"""Shards on their way from planning to the engines: put in by one thread as they are committed, taken by another."""

from __future__ import annotations

import threading
from collections.abc import Iterable


class ShardFeed:
    """The shards that are to be scored, while it is not yet known how many there are."""

    def __init__(self, shards: Iterable[int] = (), *, is_whole: bool = False) -> None:
        self._new = list(shards)
        self._is_whole = is_whole
        self._is_cancelled = False
        self._changed = threading.Condition()

    @classmethod
    def of(cls, shards: Iterable[int]) -> ShardFeed:
        """Make a feed of shards that are all known."""
        return cls(shards, is_whole=True)

    def put(self, shard: int) -> None:
        """Add a shard that is committed."""
        with self._changed:
            self._new.append(shard)
            self._changed.notify_all()

    def finish(self) -> None:
        """Tell the engines that no further shards will come."""
        with self._changed:
            self._is_whole = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """One of the two sides has failed: what was not begun is left."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify_all()

    @property
    def is_cancelled(self) -> bool:
        """Whether nothing more is to be done."""
        return self._is_cancelled

    @property
    def may_bring_more(self) -> bool:
        """Whether a later `take` may bring shards."""
        with self._changed:
            return not self._is_cancelled and (bool(self._new) or not self._is_whole)

    def take(self) -> list[int]:
        """Those that have come since the last time, in order; none once it is cancelled."""
        with self._changed:
            taken, self._new = self._new, []
            return [] if self._is_cancelled else taken

    def wait(self, seconds: float) -> None:
        """Until there is something new to know, or so long."""
        with self._changed:
            if not self._new and not self._is_whole and not self._is_cancelled:
                self._changed.wait(seconds)
