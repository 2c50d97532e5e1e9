"""How long a person waits: `pipeline --help`, and where a small `submit` spends its time until it is done.

``python -m tests.bench.startup``. The break-down is read off the command's own lines as they come.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.children import COMMAND, REPOSITORY, busy_cores, child_environment, machine
from tests.bench.workload import HELDOUT, read_texts, write_job

# First words of the command's lines, and what it has done since the line before.
_LINES = {
    "log": "Python, the command's imports",
    "run": "job checked, model and tokenizer read, run committed",
    "plan": "Prefect and its server, Ray, engines asked for, documents planned",
    "engines": "waiting for the first engine",
    "score": "scoring",
    "publish": "results written",
    "results": "books closed, run marked complete",
}


def main(words: Sequence[str] | None = None) -> dict[str, float]:
    """Measure, print, and return the medians of what is compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--model", default="starter", help="a name in the catalogue, or a model's folder")
    arguments = parser.parse_args(words)
    console = Console(highlight=False, width=120)
    console.print(machine(busy_cores()))
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        seconds = [_help_seconds(folder) for _ in range(arguments.times)]
        spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
        console.print(f"pipeline --help: {statistics.median(seconds):.2f} s ({spread}), {len(seconds)} fresh processes")
        console.print(_submit_table(folder, arguments.documents, arguments.model))
    return {"pipeline --help, seconds": statistics.median(seconds)}


def _help_seconds(folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [COMMAND, "--help"], env=child_environment(folder), cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def _submit_table(folder: Path, documents: int, model: str) -> Table:
    path = folder / "documents.jsonl"
    texts = list(read_texts(HELDOUT))[:documents]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    job = write_job(folder / "job.yaml", path, folder / "runs", model)
    environment = child_environment(folder, {"PYTHONUNBUFFERED": "1"})
    awaited = dict(_LINES)
    started = last = time.perf_counter()
    table = Table("until the line", "seconds", "spent on", title=f"pipeline submit, {documents:,} documents")
    with (
        (folder / "stderr.txt").open("w") as errors,
        subprocess.Popen(
            [COMMAND, "submit", job], env=environment, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            now, word = time.perf_counter(), line.split(" ")[0]
            if spent_on := awaited.pop(word, None):  # the summary has lines that begin with the same words
                table.add_row(word, f"{now - last:.1f}", spent_on)
                last = now
    ended = time.perf_counter()
    if process.returncode:
        raise SystemExit((folder / "stderr.txt").read_text() + f"pipeline submit ended with {process.returncode}")
    table.add_row("end", f"{ended - last:.1f}", "Prefect's server and Ray stopped, process ended")
    table.add_section()
    table.add_row("all", f"{ended - started:.1f}", "")
    return table


if __name__ == "__main__":
    main()
