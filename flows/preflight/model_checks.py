"""`pipeline models check`: which models of the catalogue fit the machines at hand. No engine is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.job.sections import ModelSource
from pipelines.settings import settings
from workers.engines.catalogue import CatalogueEntry, catalogue, find_entry
from workers.engines.fitting.fit import Fit, fit_of
from workers.engines.fitting.machines import Machine, cluster_machines, this_machine


@dataclass(frozen=True)
class Fits:
    """How models stand to machines; ``is_cluster`` where these are a Ray cluster's."""

    machines: Sequence[Machine]
    device: str
    is_cluster: bool
    entries: dict[str, CatalogueEntry]
    fits: dict[str, Fit]


def look_at_models(name: str | None) -> Fits:
    """How one model, or every one, stands to the machines at hand.

    Raises:
        JobError: nobody knows the name.
        EngineError: the cluster of RAY_ADDRESS cannot be joined.
    """
    entries = dict([find_entry(ModelSource(source=name) if _is_source(name) else name)] if name else _all())
    address = settings().ray_address
    machines = [this_machine()] if address is None else _of_cluster(address)
    has_cards = any(machine.cards for machine in machines)
    device = settings().device or ("gpu" if has_cards else "cpu")
    fits = {each: fit_of(entry, machines, device) for each, entry in entries.items()}
    return Fits(machines, device, address is not None, entries, fits)


def _is_source(name: str) -> bool:
    return "/" in name and name not in catalogue().models


def _all() -> list[tuple[str, CatalogueEntry]]:
    return list(catalogue().models.items())


def _of_cluster(address: str) -> list[Machine]:
    # Imported late: Ray takes seconds, which a look at this machine need not.
    from workers.engines.own_ray import leave_ray, start_ray

    start_ray(address)
    try:
        return cluster_machines(look_at_cards=True)
    finally:
        leave_ray()
