"""Whole wall time of 2,000 tickets, start-up included: `pipeline submit`, `vllm run-batch`, `ray.data.llm`.

``python -m tests.bench.wall``. Each way runs in a fresh process without a running Ray, from the command to the last
row on disk. The product reads the held-out tickets as they are, in eight formats; the others get their texts as one
JSONL file. Neither asks Claude. Each round takes another order.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow.dataset as ds
from rich.console import Console
from rich.table import Table

from flows.questions.classification import LabelQuestion
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from pipelines.tasks.classification import answer_schema
from tests.bench.children import COMMAND, REPOSITORY, ask, busy_cores, child_environment, machine, remark, run_logged
from tests.bench.run_batch import Style, run_batch
from tests.bench.workload import HELDOUT, read_texts, write_job
from workers.engines.catalogue import ResolvedModel, resolve_model

_SITE = REPOSITORY / ".cache" / "bench-site"
_PANDAS = ("pandas==2.3.3", "python-dateutil", "pytz", "tzdata", "six")


@dataclass(frozen=True)
class Bench:
    """What every way is given."""

    folder: Path
    job: Job
    job_path: Path
    documents: int

    @property
    def question(self) -> tuple[LabelQuestion, ResolvedModel]:
        """What is asked, and of which model."""
        assert isinstance(self.job.model, str)
        model = resolve_model(self.job.model)
        return LabelQuestion(self.job, model), model

    def home(self, way: str, number: int) -> Path:
        """A folder of its own for each process."""
        home = self.folder / f"{way}-{number}"
        home.mkdir(parents=True)
        return home


def main(words: Sequence[str] | None = None) -> dict[str, float]:
    """Measure, print, and return the medians of what is compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="starter", help="a name in the catalogue, or a model's folder")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args(words)
    _provide_pandas()
    console = Console(highlight=False, width=150)
    seconds: dict[str, list[float]] = {way: [] for way in arguments.ways}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", ignore_cleanup_errors=True) as name:
        bench = _prepare(Path(name), arguments.model)
        console.print(f"{bench.documents:,} documents, {arguments.model}; {machine(busy_cores())}")
        for number in range(arguments.rounds):
            shift = number % len(arguments.ways)
            for way in arguments.ways[shift:] + arguments.ways[:shift]:
                busy = busy_cores()
                started = time.perf_counter()
                rows = WAYS[way](bench, bench.home(way, number))
                seconds[way].append(time.perf_counter() - started)
                assert rows == bench.documents, f"{way} wrote {rows} rows"
                console.print(f"round {number + 1}  {way:<28} {seconds[way][-1]:6.1f} s{remark(busy)}")
    console.print(_table(seconds))
    ours, *others = arguments.ways
    return {
        f"{ours}, seconds x {other}": statistics.median(seconds[ours]) / statistics.median(seconds[other])
        for other in others
    }


def _prepare(folder: Path, model: str) -> Bench:
    path = write_job(folder / "job.yaml", HELDOUT, folder / "runs", model)
    texts = list(read_texts(HELDOUT, max_characters=1_000_000))
    rows = (json.dumps({"id": f"doc-{number}", "text": text}) + "\n" for number, text in enumerate(texts))
    (folder / "documents.jsonl").write_text("".join(rows), encoding="utf-8")
    return Bench(folder, load_job(path), path, len(texts))


def _submit(bench: Bench, home: Path) -> int:
    output = home / "runs"
    run_logged([COMMAND, "submit", bench.job_path, "--output", output], home / "log.txt", child_environment(home))
    (root,) = output.iterdir()
    return ds.dataset(str(root / "results"), format="parquet").count_rows()


def _ray_data(style: str) -> Callable[[Bench, Path], int]:
    def run(bench: Bench, home: Path) -> int:
        question, model = bench.question
        spec = {
            "model": model.weights,
            # The model's own arguments and prefix caching: what a good user sets. The rest is vLLM's choice.
            "engine": {**model.engine, "enable_prefix_caching": True},
            "documents": str(bench.folder / "documents.jsonl"),
            "output": str(home / "output"),
            "before": question.prompt.before,
            "after": question.prompt.after,
            "schema": answer_schema(question.labels),
        }
        (home / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        answer = ask("ray_data_job", [style, home / "spec.json"], home, {"PYTHONPATH": str(_SITE)})
        return int(answer["rows"])

    return run


def _run_batch(style: Style) -> Callable[[Bench, Path], int]:
    def run(bench: Bench, home: Path) -> int:
        question, model = bench.question
        rows = map(json.loads, (bench.folder / "documents.jsonl").read_text(encoding="utf-8").splitlines())
        return run_batch(
            style,
            {row["id"]: row["text"] for row in rows},
            (question.prompt.before, question.prompt.after),
            answer_schema(question.labels),
            model.weights,
            {**model.engine, "enable_prefix_caching": True},
            home,
        )

    return run


WAYS: dict[str, Callable[[Bench, Path], int]] = {
    "pipeline submit": _submit,
    "vllm run-batch, JSON": _run_batch("json"),
    "vllm run-batch, one token": _run_batch("one-token"),
    "ray.data.llm, JSON chat": _ray_data("json"),
    "ray.data.llm, one token": _ray_data("one-token"),
}


def _provide_pandas() -> None:
    """Ray Data needs pandas and the product does not: it goes into a folder that only Ray Data's process sees."""
    if (_SITE / "pandas").is_dir():
        return
    missing = [package for package in _PANDAS if not _is_installed(package)]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*install, "--target", str(_SITE), *missing], check=True)


def _is_installed(requirement: str) -> bool:
    try:
        version(requirement.split("==")[0])
    except PackageNotFoundError:
        return False
    return True


def _table(seconds: dict[str, list[float]]) -> Table:
    ours = next(iter(seconds))
    table = Table("way", "seconds", f"x {ours}", caption="median of the rounds (each round); start-up included")
    for way, values in seconds.items():
        middle = statistics.median(values)
        each = ", ".join(f"{value:.1f}" for value in values)
        table.add_row(way, f"{middle:.1f} ({each})", f"{middle / statistics.median(seconds[ours]):.2f}")
    return table


if __name__ == "__main__":
    main()
