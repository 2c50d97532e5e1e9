"""What a run of 2,000 documents waits for at its start, and what goes on beside what: a table, and a Mermaid picture.

``python -m tests.bench.timeline [--documents N]``. One `pipeline submit` in a process of its own, with the real engine.
The times are those at which its lines come, at which processes of Ray and Prefect begin (as the kernel notes them), and
at which objects of the run are committed (their files' times): nothing in the product is changed for it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from rich.console import Console

from tests.bench.children import COMMAND, REPOSITORY, busy_cores, child_environment, remark
from tests.bench.provenance import as_lines, markdown, provenance
from tests.bench.workload import HELDOUT, read_texts, write_job

_LOOK_SECONDS = 0.1
# What marks a process, and the name of its beginning.
_PROCESSES = {"gcs_server": "ray begins", "prefect": "prefect begins", "ray::Scorer": "actor begins"}

Times = dict[str, float]  # seconds since the command was started


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--model", default="starter", help="a name in the catalogue, or a model's folder")
    arguments = parser.parse_args(words)
    console = Console(highlight=False, width=140, soft_wrap=True)
    busy = busy_cores()
    facts = provenance(busy)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", ignore_cleanup_errors=True) as name:
        times = _run(Path(name), arguments.documents, arguments.model)
    spans = _spans(times)
    cells = [[what, f"{begin:.1f}", f"{end:.1f}", f"{end - begin:.1f}"] for what, (begin, end) in spans.items()]
    title = f"{arguments.documents:,} documents{remark(busy)}"
    text = f"{title}\n\n{markdown(['', 'from', 'to', 'seconds'], cells)}\n\n{_picture(spans)}\n\n{as_lines(facts)}"
    console.print(text, markup=False)


def _run(folder: Path, documents: int, model: str) -> Times:
    """When everything happened."""
    path = folder / "documents.jsonl"
    texts = list(read_texts(HELDOUT, max_characters=1_000_000))[:documents]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    job = write_job(folder / "job.yaml", path, folder / "runs", model)
    environment = child_environment(folder, {"PYTHONUNBUFFERED": "1"})
    times: Times = {}
    with (folder / "stderr.txt").open("w") as errors:
        started_at, started = time.time(), time.perf_counter()
        with subprocess.Popen(
            [COMMAND, "submit", job], env=environment, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=errors
        ) as process:
            watching = threading.Thread(target=_watch, args=(process, started_at, times), daemon=True)
            watching.start()
            assert process.stdout is not None
            for line in process.stdout:
                times.setdefault(f"line {line.split(' ')[0]}", time.perf_counter() - started)
        times["end"] = time.perf_counter() - started
        watching.join()
    if process.returncode:
        raise SystemExit((folder / "stderr.txt").read_text() + f"pipeline submit ended with {process.returncode}")
    (root,) = (folder / "runs").iterdir()
    return times | {what: at - started_at for what, at in _committed(root).items()}


def _watch(process: subprocess.Popen[str], started_at: float, times: Times) -> None:
    """Note when the processes that matter begin."""
    command = psutil.Process(process.pid)
    while process.poll() is None:
        with suppress(psutil.Error):
            for child in command.children(recursive=True):
                with suppress(psutil.Error):
                    line = " ".join(child.cmdline())
                    for mark, what in _PROCESSES.items():
                        if mark in line:
                            begun = child.create_time() - started_at
                            times[what] = min(times.get(what, begun), begun)
        time.sleep(_LOOK_SECONDS)


def _committed(root: Path) -> Times:
    """When the first and the last object of each kind was written."""

    def written(pattern: str) -> list[float]:
        return sorted(path.stat().st_mtime for path in root.glob(pattern))

    plan, scored = written("plan/part-*"), written("predictions/part-*")
    return {
        "run committed": written("run.json")[0],
        "first planned": plan[0],
        "last planned": plan[-1],
        "first scored": scored[0],
        "last scored": scored[-1],
        "last result": written("results/part-*")[-1],
        "complete": written("_COMPLETE")[0],
    }


def _spans(times: Times) -> dict[str, tuple[float, float]]:
    """What goes on from when to when."""
    engines = times["line engines"]
    return {
        "Python, imports, job checked, run committed": (0.0, times["run committed"]),
        "Prefect imported, server started, flow begun": (times["run committed"], times["first planned"]),
        "Ray imported and started": (times["run committed"], times["actor begins"]),
        "Documents read, tokenised, planned": (times["first planned"], times["last planned"]),
        "Engine: vLLM imported, model loaded": (times["actor begins"], engines),
        "Scoring": (engines, times["last scored"]),
        "Results, books closed": (times["last scored"], times["complete"]),
        "Ray and Prefect stopped": (times["complete"], times["end"]),
    }


def _picture(spans: Mapping[str, tuple[float, float]]) -> str:
    lines = ["```mermaid", "gantt", "    dateFormat x", "    axisFormat %S s"]
    for what, (begin, end) in spans.items():
        name = what.replace(":", ",")
        lines.append(f"    {name} :{round(begin * 1_000)}, {round(end * 1_000)}")
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    main()
