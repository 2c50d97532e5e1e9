"""What an engine takes of a machine, how many find room on several, and what Ray is asked for; models aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workers.engines.fitting.machines import GIB, Machine

Device = Literal["gpu", "cpu"]


@dataclass(frozen=True)
class Needs:
    """What one engine takes: ``devices`` GPUs or cores, less than one for a part of a GPU.

    ``memory_bytes`` are of the machine, and looked at on CPUs alone: an engine on a GPU takes little of it. None: not
    known, or not to be looked at.
    """

    device: Device
    devices: float
    memory_bytes: int | None = None

    def as_resources(self) -> dict[str, float]:
        """The same as options of a Ray actor; with the memory, so that no node gets more engines than it holds."""
        if self.device == "gpu":
            return {"num_gpus": self.devices, "num_cpus": 1}
        return {"num_cpus": self.devices} | ({"memory": self.memory_bytes} if self.memory_bytes else {})

    def on_the_largest(self, machines: Sequence[Machine]) -> Needs:
        """The same, with no more memory than the largest of these machines has to give: there it is tried all the same.

        Where a machine does not say what it has, Ray could not give any of it: none is asked for.
        """
        if self.device == "gpu" or self.memory_bytes is None:
            return self
        memories = [machine.memory_bytes for machine in machines if machine.cores >= self.devices]
        if not memories or not all(memories):
            return replace(self, memory_bytes=None)
        return replace(self, memory_bytes=min(self.memory_bytes, max(memory or 0 for memory in memories)))

    def short_of_memory(self, machines: Sequence[Machine], wanted: int | None) -> str | None:
        """Why fewer engines find room than there are cores for, where more are wanted; None wants all there are."""
        engines, by_cores = room(machines, self), room(machines, replace(self, memory_bytes=None))
        if self.memory_bytes is None or engines >= min(wanted or by_cores, by_cores):
            return None
        free = sum(machine.memory_bytes or 0 for machine in machines) / GIB
        return (
            f"no more, by memory: {free:,.1f} GiB are free and one takes {self.memory_bytes / GIB:,.1f}; there are "
            f"cores for {by_cores:,}"
        )


def room(machines: Sequence[Machine], needs: Needs) -> int:
    """How many engines find a place: a group of GPUs, or of cores and their memory, is of one machine."""
    return sum(_room(machine, needs) for machine in machines)


def _room(machine: Machine, needs: Needs) -> int:
    if needs.device == "cpu":
        engines = int(machine.cores // needs.devices)
        if needs.memory_bytes is None or machine.memory_bytes is None:
            return engines
        return min(engines, machine.memory_bytes // needs.memory_bytes)
    cards = len(machine.cards)
    groups = int(1 / needs.devices) * cards if needs.devices < 1 else int(cards // needs.devices)
    return min(groups, int(machine.cores))  # an engine takes a core, too
