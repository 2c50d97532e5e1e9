"""What the engines of a run are started with: by the model, its prompt and the device."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.questions.question import AskedOfEngine
from flows.stages import scoring
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job
from pipelines.store import layout
from pipelines.store.objects import Store
from tests.job.job_case import GOOD
from workers.engines.catalogue import find_entry
from workers.engines.fitting.machines import GIB, Machine
from workers.engines.scorer import ScorerConfig
from workers.engines.tokens import TokenFrame

Started = Callable[..., tuple[ScorerConfig, dict[str, Any]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Starts engines for a model and a frame; the pool only takes down what it is asked for."""
    asked: list[Any] = []
    monkeypatch.setattr(scoring, "start_ray", lambda _: None)
    monkeypatch.setattr(scoring, "EnginePool", lambda config, *_, **options: asked.append((config, options)))

    def start(
        model: str, frame_tokens: int, machine: Machine, review: Any = None, engine: Any = None, **compute: Any
    ) -> Any:
        device = "gpu" if machine.cards else "cpu"
        monkeypatch.setattr(scoring, "cluster_device", lambda _: device)
        monkeypatch.setattr(scoring, "machines_at_hand", lambda _: [machine])
        job: Job = parse_job(GOOD, "job.yaml")
        job = job.model_copy(update={"model": model, "compute": job.compute.model_copy(update=compute)})
        frame = TokenFrame(tuple(range(frame_tokens)), (1,), (2, 3))
        run: Any = SimpleNamespace(
            job=job,
            model=SimpleNamespace(
                engine={**find_entry(model)[1].engine, **(engine or {})},
                weights="weights",
                base_revision="0",
                adapter=None,
            ),
            record=SimpleNamespace(input_bytes=1, model_revision="0"),
            store=SimpleNamespace(root="root"),
            question=SimpleNamespace(asked_of_engine=AskedOfEngine(frame, review=review)),
        )
        scoring.start_engines(run)
        return asked.pop()

    return start


CARDS = Machine("node", 16, 128 * GIB, (80 * GIB, 80 * GIB))
CPU = Machine("node", 4, 16 * GIB)


@pytest.mark.parametrize(
    ("model", "frame", "is_on"), [("qwen3.5-9b", 300, False), ("qwen3.5-9b", 600, True), ("qwen3-8b", 300, True)]
)
def test_a_frame_shorter_than_the_models_block_is_not_looked_for_in_the_cache(
    started: Started, model: str, frame: int, is_on: bool
) -> None:
    config, _ = started(model, frame, CARDS)
    assert config.engine_args["enable_prefix_caching"] is is_on


def test_on_a_gpu_throughput_goes_before_latency_and_on_a_cpu_the_engines_are_as_they_were(started: Started) -> None:
    assert started("qwen3.5-9b", 300, CARDS)[0].engine_args["performance_mode"] == "throughput"
    config, _ = started("starter", 240, CPU)
    assert "performance_mode" not in config.engine_args
    assert config.engine_args["enable_prefix_caching"] is True
    assert config.reuse and config.reuse.promised_tokens == 224


def test_labels_need_no_graphs_and_on_one_card_no_process_for_the_engine(started: Started) -> None:
    config, _ = started("qwen3.5-9b", 300, CARDS)
    assert config.engine_args["compilation_config"] == {"cudagraph_mode": "NONE"}
    assert config.environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert "max_num_seqs" not in config.engine_args
    own = {"compilation_config": {"cudagraph_mode": "PIECEWISE"}}
    assert (
        started("qwen3.5-9b", 300, CARDS, engine=own)[0].engine_args["compilation_config"] == own["compilation_config"]
    )


@pytest.mark.parametrize(("model", "most"), [("qwen3.5-9b", 256), ("qwen3-8b", None)])
def test_a_hybrid_model_reviews_fewer_at_a_time_than_its_cache_has_blocks(
    started: Started, model: str, most: int | None
) -> None:
    config, _ = started(model, 300, CARDS, review=SimpleNamespace())
    assert config.engine_args.get("max_num_seqs") == most
    assert "compilation_config" not in config.engine_args
    assert config.environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
    assert (
        started(model, 300, CARDS, review=SimpleNamespace(), engine={"max_num_seqs": 64})[0].engine_args["max_num_seqs"]
        == 64
    )


def test_a_models_own_variables_reach_its_engines(started: Started) -> None:
    eight = Machine("node", 16, 128 * GIB, (141 * GIB,) * 8)
    config, _ = started("qwen3.5-397b-a17b-fp8", 300, eight)
    assert config.environment["VLLM_USE_DEEP_GEMM"] == "0"
    assert config.environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
    assert config.devices_per_engine == 8


def test_the_promise_is_that_of_the_weakest_session_and_none_where_one_cannot_say(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert scoring.cache_promise(store) is None
    for number, promised in enumerate((224, 192)):
        session = {"engines": number + 1, "held_seconds": 1.0, "promised_cached_tokens": promised}
        store.create(layout.engine_time(number), json.dumps(session).encode())
    promise = scoring.cache_promise(store)
    assert promise and (promise.tokens, promise.engines) == (192, 2)
    store.create(layout.engine_time(9), json.dumps({"engines": 1, "held_seconds": 1.0}).encode())  # an earlier version
    assert scoring.cache_promise(store) is None
