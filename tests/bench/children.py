"""Fresh processes for the benchmarks: a clean environment each, their noise in a log, their answer in a file.

What is measured never runs in the process that compares: an engine changes its process's threads and memory for good.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "pipeline"
_KEPT = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "TMPDIR")
_WATCHED_SECONDS = 2.0
_TOLERATED_CORES = 0.2


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
    command: Sequence[object], log: Path, environment: Mapping[str, str], timeout_seconds: float = 600
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


def answers_of(processes: Sequence[BaseProcess], answers: Queue[Any], timeout_seconds: float) -> list[Any]:
    """One answer of each, in the order in which they come; a process that ends without one ends the benchmark."""
    found: list[Any] = []
    deadline = time.monotonic() + timeout_seconds
    while len(found) < len(processes):
        try:
            found.append(answers.get(timeout=_WATCHED_SECONDS))
        except Empty:
            if time.monotonic() > deadline or any(process.exitcode for process in processes):
                for process in processes:
                    process.kill()
                raise SystemExit("an engine's process has ended, or answers no more: see above") from None
    for process in processes:
        process.join()
    return found


def busy_cores() -> float:
    """Cores that others keep busy just now; asked while nothing of ours runs. The load average would still show us."""
    before, _ = _cpu_ticks()
    started = time.monotonic()
    time.sleep(_WATCHED_SECONDS)
    after, ticks_per_second = _cpu_ticks()
    return (after - before) / ticks_per_second / (time.monotonic() - started)


def _cpu_ticks() -> tuple[int, int]:
    user, nice, system = Path("/proc/stat").read_text(encoding="ascii").split()[1:4]
    return int(user) + int(nice) + int(system), os.sysconf("SC_CLK_TCK")


def machine(busy: float) -> str:
    """For the head of a table."""
    return f"{os.cpu_count()} cores, {busy:.1f} of them busy with something else"


def remark(busy: float) -> str:
    """Beside a figure: one from a busy machine is worth little."""
    return f"  (others kept {busy:.1f} cores busy: measure again)" if busy > _TOLERATED_CORES else ""
