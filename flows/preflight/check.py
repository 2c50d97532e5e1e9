"""The outcome of one check of `pipeline doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GIB = 1024**3


@dataclass(frozen=True)
class Check:
    """``mend`` is the command or setting that mends what is ``wrong`` or a ``warning``."""

    name: str
    state: Literal["ok", "warning", "wrong", "skipped"]
    what: str
    mend: str = ""


def size(size_bytes: float) -> str:
    """Such as `1.5 GiB` or `12.0 KiB`."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:,.0f} B" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:,.1f} GiB"
