"""Prefix caching is on where the frame fills a block of the model, and off where it would find nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.engine_stand_in import engine_stand_in
from workers.engines.catalogue import catalogue
from workers.engines.engine import LabelEngine, most_requests
from workers.engines.fitting.prefix import PrefixReuse, prefix_reuse
from workers.engines.tokens import TokenFrame

__all__ = ["engine_stand_in"]
ON = {"enable_prefix_caching": True}


def reuse(name: str, tokens: int, *, is_asked: bool = False, **arguments: Any) -> PrefixReuse:
    return prefix_reuse(catalogue().models[name], ON | arguments, is_asked, tokens)


@pytest.mark.parametrize(
    ("name", "tokens", "is_on", "promised"),
    [
        ("qwen3-8b", 290, True, 288),
        ("qwen3-8b", 15, False, 0),
        ("qwen3.5-9b", 527, False, 0),
        ("qwen3.5-9b", 528, True, 528),
        ("qwen3.5-9b", 1_100, True, 1_056),
        ("qwen3.5-35b-a3b", 600, False, 0),
    ],
)
def test_the_models_block_decides(name: str, tokens: int, is_on: bool, promised: int) -> None:
    found = reuse(name, tokens)
    assert (found.is_on, found.promised_tokens) == (is_on, promised)
    assert (found.note is None) is is_on


def test_the_engines_own_arguments_are_heeded() -> None:
    assert reuse("starter", 240, block_size=32).promised_tokens == 224
    assert not reuse("qwen3.5-9b", 800, kv_cache_dtype="fp8").is_on, "its blocks hold twice as many"
    assert reuse("qwen3.5-9b", 290, is_asked=True).is_on, "the job says so itself"
    assert not reuse("qwen3-8b", 290, is_asked=True, enable_prefix_caching=False).is_on
    stranger = catalogue().models["starter"].model_copy(update={"prefix_block": None})
    assert prefix_reuse(stranger, ON, False, 290) == PrefixReuse(290, None, True)
    assert prefix_reuse(stranger, ON, False, 290).promised_tokens is None


def scored(frame_tokens: int, document_tokens: int, count: int, **arguments: Any) -> tuple[Any, int]:
    """What a stand-in found in its cache, and how many requests it held at most."""
    frame = TokenFrame(tuple(range(frame_tokens)), (7,), (1, 2))
    engine = LabelEngine("starter", arguments, frame)
    documents = [np.full(document_tokens, 1_000 + number, np.int32) for number in range(count)]
    scores = [engine.score(documents).result(), engine.score(documents).result()][-1]
    engine.close()
    return scores, engine._engine.most_held


@pytest.mark.usefixtures("engine_stand_in")
@pytest.mark.parametrize(("frame_tokens", "found"), [(527, 0), (528, 528), (1_100, 1_056)])
def test_what_is_promised_is_what_an_engine_finds(
    frame_tokens: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_STAND_IN_BLOCK", "528")
    plan = reuse("qwen3.5-9b", frame_tokens)
    scores, _ = scored(frame_tokens, 50, 20, enable_prefix_caching=plan.is_on)
    assert set(scores.cached_tokens) == {found} == {plan.promised_tokens}


@pytest.mark.parametrize(
    ("batched", "running", "uncached", "most"),
    [(8_192, 256, 600.0, 512), (32_768, 1_024, 600.0, 2_048), (32_768, 256, 40.0, 1_639), (8_192, 256, 0.0, 16_384)],
)
def test_an_engine_holds_two_steps_of_tokens_and_twice_what_it_runs(
    batched: int, running: int, uncached: float, most: int
) -> None:
    assert most_requests(batched, running, uncached) == most


@pytest.mark.usefixtures("engine_stand_in")
def test_short_documents_are_held_in_greater_number_once_it_is_known_that_they_are_short() -> None:
    limits = {"max_num_batched_tokens": 8_192, "max_num_seqs": 64}
    _, short = scored(1, 10, 3_000, **limits)
    _, long = scored(1, 600, 600, **limits)
    assert short == most_requests(8_192, 64, 13) == 1_261  # a prompt of 12 tokens, and its answer
    assert long == 128
