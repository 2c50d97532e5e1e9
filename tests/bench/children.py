"""Fresh processes for the benchmarks: a clean environment each, their noise in a log, their answer in a file.

What is measured never runs in the process that compares: an engine changes its process's threads and memory for good.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "pipeline"
_KEPT = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "TMPDIR")


def child_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the caller's settings; the same for every row, so that no row wins by it."""
    return {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "SLUICE_STATE_DIR": str(home / "state"),
        "PREFECT_HOME": str(home / "prefect"),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB; vLLM's own default on a CPU takes half of the machine's memory
        **(extra or {}),
    }


def run_logged(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str], timeout_seconds: float = 600
) -> None:
    """Run to the end; a failure ends the benchmark with the end of the log."""
    try:
        with log.open("w", encoding="utf-8") as stream:
            subprocess.run(
                [str(part) for part in command],
                cwd=REPOSITORY,
                env=dict(environment),
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=timeout_seconds,
                check=True,
            )
    except subprocess.SubprocessError as error:
        raise SystemExit(f"{log.read_text(encoding='utf-8', errors='replace')[-8_000:]}\n{error}") from error


def ask(module: str, arguments: Sequence[str | Path], home: Path, extra: Mapping[str, str] | None = None) -> Any:
    """Run a module of this folder, which writes its answer as JSON to the path it is given last."""
    home.mkdir(parents=True, exist_ok=True)
    answer = home / "answer.json"
    command = [sys.executable, "-m", f"tests.bench.{module}", *arguments, answer]
    run_logged(command, home / "log.txt", child_environment(home, extra))
    return json.loads(answer.read_text(encoding="utf-8"))


def quiet_check() -> str:
    """The machine's load, for the head of a table: figures from a busy machine are worth little."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, load {load:.1f}" + (" (BUSY: measure again when alone)" if load > 1 else "")
