"""The engine's stand-in within the tests' own process: a fixture for those that make an engine themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from infra.local.engine import STAND_IN


@pytest.fixture
def engine_stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`workers.engines.engine` finds the stand-in for vLLM; the real one is what it was again afterwards."""
    for name in _vllm_modules():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(STAND_IN))
    yield
    for name in _vllm_modules():
        del sys.modules[name]


def _vllm_modules() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "vllm"]
