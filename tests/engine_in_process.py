"""A real engine within the test's own process, which keeps its memory for as long as the process lives."""

from __future__ import annotations

import os
from typing import Any

from workers.engines.catalogue import ResolvedModel, catalogue


def engine_arguments(model: ResolvedModel | None = None, **others: Any) -> dict[str, Any]:
    """What such an engine is given, and its environment: that of the product on a CPU, with half of the cache.

    Several of these processes lie beside each other, and beside the engines of other tests.
    """
    cpu = catalogue().devices["cpu"]
    os.environ.update({**cpu.environment, "VLLM_CPU_KVCACHE_SPACE": "1"})
    return {**cpu.engine, **(model.engine if model else {}), "enforce_eager": True, **others}
