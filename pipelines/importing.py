"""Importing what is large: vLLM, Prefect, Ray."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector away from what is made within, then and later.

    An import makes a million objects that stay, and each collection walks over all of them again: a third of the
    processor time in which an engine starts, a quarter of that of a Prefect server.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
