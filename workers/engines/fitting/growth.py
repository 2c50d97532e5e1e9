"""How many engines a pool should have while there is work for more than it has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Growth:
    """``most`` is the job's own limit; ``takes_all``: the job names no number to begin with.

    Where ``brings_machines``, engines are asked for without a place: that is what makes an autoscaler bring some.
    """

    most: int | None
    takes_all: bool
    brings_machines: bool

    def until(self, engines: int, waiting: int, in_flight: int, find_room: Callable[[], int]) -> int:
        """How many there should be, if more than there are.

        Args:
            engines: there are, those without a place included.
            waiting: shards that no engine has.
            in_flight: shards that an engine holds at a time.
            find_room: how many engines the cluster holds; asked only if that matters.
        """
        if self.most and self.brings_machines:
            return min(self.most, engines + waiting // in_flight)  # as many as what waits would fill
        if self.most or self.takes_all:
            return min(find_room(), self.most or sys.maxsize)
        return engines
