"""Which models fit which machines, on how many GPUs, and what is told where none does."""

from __future__ import annotations

import pytest

from pipelines.errors import JobError
from workers.engines.catalogue import CatalogueEntry, catalogue
from workers.engines.fitting.fit import Fit, fit_of, fitting_models, refuse_unfit
from workers.engines.fitting.growth import Growth
from workers.engines.fitting.machines import GIB, Machine

H100, L4 = 80 * GIB, 23 * GIB


def machine(*cards: int | None, cores: float = 16, gib: float = 128) -> Machine:
    return Machine("node", cores, int(gib * GIB), cards)


def fit(name: str, *machines: Machine, device: str = "gpu", share: float | None = None) -> Fit:
    return fit_of(catalogue().models[name], machines, device, share)


@pytest.mark.parametrize(
    ("name", "machines", "group", "engines"),
    [
        ("qwen3.5-9b", [machine(L4)], 1, 1),
        ("qwen3.5-35b-a3b", [machine(H100)], 1, 1),
        ("qwen3.5-35b-a3b", [machine(L4, L4, L4, L4)], 2, 2),
        ("qwen3.5-122b-a10b-fp8", [machine(H100, H100, H100)], 2, 1),
        # Two machines of one card each are no group of two; nor do three and three make three groups.
        ("qwen3.5-122b-a10b-fp8", [machine(H100), machine(H100)], 1, 0),
        ("qwen3.5-122b-a10b-fp8", [machine(H100, H100, H100), machine(H100, H100, H100)], 2, 2),
        ("qwen3.5-397b-a17b-int4", [machine(*[H100] * 8)], 8, 1),
        ("qwen3.5-397b-a17b-int4", [machine(*[H100] * 4)], 1, 0),  # 4 would hold it; the catalogue asks for 8
        ("qwen3.5-122b-a10b-fp8", [machine(None, None)], 1, 2),  # memory that nobody could read: the engine will tell
    ],
)
def test_a_model_takes_the_smallest_group_of_one_machine_that_holds_it(
    name: str, machines: list[Machine], group: int, engines: int
) -> None:
    found = fit(name, *machines)
    assert (found.group, found.engines) == (group, engines)


def test_a_model_that_cannot_fit_is_refused_with_numbers_and_with_what_would() -> None:
    with pytest.raises(JobError) as refused:
        refuse_unfit("qwen3.5-122b-a10b-bf16", catalogue().models["qwen3.5-122b-a10b-bf16"], [machine(H100)], "gpu")
    assert refused.value.problems == [
        "model: 'qwen3.5-122b-a10b-bf16' cannot run here: it needs about 293 GiB; the largest machine has 1 x 80 GiB; "
        "it is meant for four H200, or eight cards of 80 GB. Of the catalogue, what fits: qwen3.5-122b-a10b-int4, "
        "qwen3.5-27b-bf16, qwen3.5-35b-a3b"
    ]


def test_on_cpus_memory_decides_and_formats_that_need_a_gpu_are_refused() -> None:
    small = machine(cores=4, gib=13)
    assert fit("qwen3.5-0.8b", small, device="cpu").engines == 2  # 1.7 GiB of weights, 2 of cache, 0.8 each
    assert fit("qwen3.5-9b", small, device="cpu").why_not == (
        "an engine needs about 21.1 GiB of memory; the largest machine has 13.0"
    )
    assert fit("qwen3.5-27b-fp8", machine(gib=500), device="cpu").why_not == "FP8 needs a GPU"
    assert fitting_models([small], "cpu", catalogue().models)[0] == "qwen3.5-4b"


def test_several_small_models_share_a_card_where_a_part_of_it_holds_one() -> None:
    assert fit("qwen3.5-0.8b", machine(H100, H100), share=0.25).engines == 8
    grouped = catalogue().models["qwen3.5-397b-a17b-fp8"]
    assert "exclude each other" in fit_of(grouped, [machine(*[H100] * 8)], "gpu", 0.5).why_not
    assert "a part of 0.05 of a card is too little" in fit("qwen3.5-9b", machine(H100), share=0.05).why_not


def test_weights_of_which_nothing_is_known_are_believed_to_fit() -> None:
    stranger = CatalogueEntry(about="", source="acme/unknown")
    assert fit_of(stranger, [machine(L4)], "gpu") == Fit(None, 1, 1)
    known = CatalogueEntry(about="", source="Qwen/Qwen3.5-27B")
    assert not fit_of(known, [machine(L4)], "gpu").engines, "the same weights as the catalogue's"


@pytest.mark.parametrize(
    ("growth", "until"),
    [
        (Growth(None, takes_all=False, brings_machines=False), 2),  # `engines: 2` alone stays
        (Growth(None, takes_all=True, brings_machines=False), 5),  # every place there is
        (Growth(4, takes_all=True, brings_machines=False), 4),
        (Growth(8, takes_all=False, brings_machines=False), 5),
        (Growth(8, takes_all=False, brings_machines=True), 6),  # what waits fills four more, places or not
        (Growth(3, takes_all=False, brings_machines=True), 3),
    ],
)
def test_engines_grow_as_far_as_the_job_the_work_and_the_room_allow(growth: Growth, until: int) -> None:
    assert growth.until(engines=2, waiting=8, in_flight=2, find_room=lambda: 5) == until
