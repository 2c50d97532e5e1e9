"""The machines that engines could run on: this one, or the nodes of a Ray cluster, each with its cores, cards, memory.

Cards are asked after where they are, by NVIDIA's own tool; torch is not asked, which takes seconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
_ANSWER_SECONDS = 60.0  # of a node that may have to start a process for it


@dataclass(frozen=True)
class Machine:
    """One node. ``cards`` are the bytes of each of its GPUs, None for one whose memory nobody could read."""

    name: str
    cores: float
    memory_bytes: int | None
    cards: tuple[int | None, ...] = ()

    @property
    def card_bytes(self) -> int | None:
        """What each of its cards has at least; None where there is none, or nobody knows."""
        known = [card for card in self.cards if card is not None]
        return min(known) if known and len(known) == len(self.cards) else None


def this_machine() -> Machine:
    """What is here, without Ray."""
    cards = tuple(memory for _, memory in cards_here())
    return Machine("this machine", len(os.sched_getaffinity(0)), total_memory(), cards)


def cards_here() -> list[tuple[str, int]]:
    """Name and bytes of memory of each card."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout  # noqa: S603  # words of ours
        rows = [line.rpartition(",") for line in listed.splitlines() if line.strip()]
        return [(name.strip(), int(mib) * 1024**2) for name, _, mib in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def total_memory() -> int | None:
    """Bytes that this machine, or the container's limit, has for everybody; None where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    except (OSError, StopIteration):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdecimal() else total


def cluster_machines(*, look_at_cards: bool) -> list[Machine]:
    """The nodes of the cluster that this process has joined.

    Args:
        look_at_cards: ask each node with GPUs for their memory, which takes it a moment.
    """
    # Imported late, here and below: Ray takes seconds, which a look at this machine need not.
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's annotations stop here
    alive = [node for node in nodes if node["Alive"]]
    with_cards = [node for node in alive if look_at_cards and node["Resources"].get("GPU")]
    memories = dict(zip([node["NodeID"] for node in with_cards], _ask_for_cards(with_cards), strict=True))
    return [_machine(node, memories.get(node["NodeID"])) for node in alive]


def _machine(node: dict[str, object], cards: Sequence[int] | None) -> Machine:
    resources = node["Resources"]
    assert isinstance(resources, dict)
    gpus, memory = int(resources.get("GPU", 0)), resources.get("memory")
    known = list(cards or ())[:gpus]  # a node may give Ray fewer than it has
    return Machine(
        str(node["NodeManagerHostname"]),
        float(resources.get("CPU", 0)),
        None if memory is None else int(memory),
        (*known, *[None] * (gpus - len(known))),
    )


def _ask_for_cards(nodes: Sequence[dict[str, object]]) -> list[list[int]]:
    """Bytes of each card of each node, nothing of one that does not answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(_bytes_of_cards)
    places = [NodeAffinitySchedulingStrategy(str(node["NodeID"]), soft=False) for node in nodes]
    calls = [ask.options(scheduling_strategy=place).remote() for place in places]
    if calls:
        ray.wait(calls, num_returns=len(calls), timeout=_ANSWER_SECONDS)
    return [_answer(call) for call in calls]


def _answer(call: object) -> list[int]:
    import ray
    from ray.exceptions import RayError

    try:
        return list(ray.get(call, timeout=0))  # type: ignore[call-overload]  # Ray's references are untyped here
    except (RayError, TimeoutError):
        return []


def _bytes_of_cards() -> list[int]:
    return [memory for _, memory in cards_here()]
