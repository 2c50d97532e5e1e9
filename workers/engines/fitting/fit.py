"""Whether a model fits the machines at hand, on how many GPUs of one of them, and what would fit instead.

A group of GPUs that serve one model together is of one machine: an actor asks Ray for all of its GPUs, and gets them of
one node or none. (In a placement group vLLM 0.32 would take to an executor of its own, `config/parallel.py`: actors do
without.) Knows nothing of jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.errors import JobError
from workers.engines.catalogue import CatalogueEntry, catalogue, known_facts, weights_on_disk
from workers.engines.fitting.machines import GIB, Machine
from workers.engines.fitting.room import Needs, room

# Attention heads are shared out evenly, so groups are of these sizes.
_GROUPS = (1, 2, 4, 8, 16)
_MORE_THAN_WEIGHTS = 1.2  # a cache and activations beside them, at the least
_CPU_PROCESS_GIB = 0.8  # an engine's on a CPU, without weights and cache: vLLM and torch; as measured
_NAMED = 3  # models that are told as fitting


@dataclass(frozen=True)
class Fit:
    """How a model stands to the machines."""

    needed_gib: float | None  # of GPU memory, or a CPU's for an engine; None: not known
    group: int  # GPUs that an engine takes; on CPUs, or where it does not fit, 1
    engines: int  # how many find room; 0: it does not fit
    why_not: str = ""
    would_fit: str = ""  # the machine that would do


def fit_of(entry: CatalogueEntry, machines: Sequence[Machine], device: str, share: float | None = None) -> Fit:
    """How a model stands to the machines that there are.

    Args:
        entry: the model.
        machines: this one, or a cluster's.
        device: ``gpu`` or ``cpu``.
        share: of a GPU that an engine is given, instead of whole ones.
    """
    return _on_gpus(entry, machines, share) if device == "gpu" else _on_cpus(entry, machines)


def _on_gpus(entry: CatalogueEntry, machines: Sequence[Machine], share: float | None) -> Fit:
    needed, asked = needed_gib(entry), entry.engine.get("tensor_parallel_size")
    if share is not None and asked and int(asked) > 1:
        return Fit(needed, 1, 0, "compute.gpu_share and tensor_parallel_size exclude each other", "one of the two")
    if share is not None:
        rooms = [machine for machine in machines if machine.cards]
        if needed is not None and not any(_holds(machine, share, needed) for machine in rooms):
            why = f"a part of {share:g} of a card is too little: it needs about {needed:,.0f} GiB of one"
            return Fit(needed, 1, 0, why, "a larger compute.gpu_share, or none")
        return Fit(needed, 1, room(rooms, Needs("gpu", share)))
    for group in [int(asked)] if asked else _GROUPS:
        holding = [each for each in machines if needed is None or _holds(each, group, needed)]
        if engines := room(holding, Needs("gpu", group)):
            return Fit(needed, group, engines)
    most = max(machines, key=lambda each: len(each.cards) * (each.card_bytes or 0), default=None)
    if most is None or not most.cards:
        why = "no machine here has a GPU"
    elif needed is None:
        why = f"it takes {asked} GPUs of one machine; the most here has {len(most.cards)}"
    else:
        grouped = f", on {asked} GPUs of one machine" if asked else ""
        here = f"{len(most.cards)} x {(most.card_bytes or 0) / GIB:,.0f} GiB"
        why = f"it needs about {needed:,.0f} GiB{grouped}; the largest machine has {here}"
    return Fit(needed, 1, 0, why, entry.devices)


def _holds(machine: Machine, cards: float, needed: float) -> bool:
    """Whether so many cards of the machine hold the model; of cards that nobody could look at, it is believed."""
    if cards > len(machine.cards):
        return False
    return machine.card_bytes is None or machine.card_bytes * cards >= needed * GIB


def _on_cpus(entry: CatalogueEntry, machines: Sequence[Machine]) -> Fit:
    if entry.weights in ("FP8", "NVFP4"):  # docs.vllm.ai, features/quantization: no CPU
        return Fit(needed_gib(entry), 1, 0, f"{entry.weights} needs a GPU", entry.devices)
    needed = cpu_engine_gib(entry)
    if needed is None:
        return Fit(None, 1, room(machines, Needs("cpu", 1)))
    if engines := room(machines, Needs("cpu", 1, int(needed * GIB))):
        return Fit(needed, 1, engines)
    most = max((machine.memory_bytes or 0 for machine in machines), default=0) / GIB
    why = f"an engine needs about {needed:,.1f} GiB of memory; the largest machine has {most:,.1f}"
    return Fit(needed, 1, 0, why, entry.devices)


def needed_gib(entry: CatalogueEntry) -> float | None:
    """Memory for weights and a little context; None where neither the catalogue nor the disk says."""
    known = known_facts(entry)
    if known.gpu_gb is not None:
        return known.gpu_gb
    weights = weights_on_disk(entry)
    return None if weights is None else weights * _MORE_THAN_WEIGHTS / GIB


def cpu_engine_gib(entry: CatalogueEntry) -> float | None:
    """Memory that an engine on a CPU takes from its start on; None where its weights are not known."""
    needed = needed_gib(entry)
    return None if needed is None else needed / _MORE_THAN_WEIGHTS + least_cpu_engine_gib()


def least_cpu_engine_gib() -> float:
    """Memory that an engine on a CPU takes beside its weights: for its cache and its process."""
    return float(catalogue().devices["cpu"].environment["VLLM_CPU_KVCACHE_SPACE"]) + _CPU_PROCESS_GIB


def refuse_unfit(
    name: str, entry: CatalogueEntry, machines: Sequence[Machine], device: str, share: float | None = None
) -> Fit:
    """How the model fits.

    Raises:
        JobError: it cannot, with what would.
    """
    fit = fit_of(entry, machines, device, share)
    if fit.engines:
        return fit
    others = fitting_models(machines, device, catalogue().models)
    instead = f"what fits: {', '.join(others)}" if others else "no model of the catalogue fits"
    wanted = f"; it is meant for {fit.would_fit}" if fit.would_fit else ""
    raise JobError([f"model: '{name}' cannot run here: {fit.why_not}{wanted}. Of the catalogue, {instead}"])


def fitting_models(
    machines: Sequence[Machine], device: str, models: Mapping[str, CatalogueEntry], most: int = _NAMED
) -> list[str]:
    """The largest models that fit, the starters last."""
    fitting = [(name, entry) for name, entry in models.items() if fit_of(entry, machines, device).engines]
    return [name for name, _ in sorted(fitting, key=lambda each: -(each[1].gpu_gb or 0))][:most]
