"""How much of the bare engine's speed a code review keeps, and what its verification pass costs.

``python -m tests.bench.reviews``. Both rows review the same diffs with the same schema and length of answer, then put
what was found, or that nothing was, to the engine as claims. Raw vLLM makes each pass in one call of `LLM.generate`;
only those calls count as its time. Engines are started and warm before the clock runs, one per core. Rounds change the
order; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from flows.console.progress import ProgressReporter
from flows.run import prepare_run
from flows.stages.planning import plan_documents
from pipelines.documents.sources.sources import list_sources
from pipelines.job.job_file import load_job
from sample_data.code_training.tokens import MODEL_NAME
from sample_data.generate_code import DEFAULT_SEED, training_diffs
from tests.bench.children import ask, busy_cores, machine, remark
from tests.bench.review_rows import ROWS, Timing
from tests.bench.workload import WARM_SHARDS, Workload
from workers.engines.catalogue import catalogue

_RAW, _PRODUCT = ROWS


def main(words: Sequence[str] | None = None) -> dict[str, float]:
    """Measure, print, and return the medians of what is compared."""
    arguments = _parser().parse_args(words)
    console = Console(highlight=False, width=150)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        workload = _make_workload(folder, arguments)
        mode = "eager" if arguments.eager else "compiled"
        console.print(f"{arguments.model}, {mode}; {machine(busy_cores())}")
        rounds = [_round(workload, folder / f"round-{number}", number, console) for number in range(arguments.rounds)]
    console.print(_table(rounds))
    kept = statistics.median(_speed(timings[_PRODUCT]) / _speed(timings[_RAW]) for timings in rounds)
    return {f"{_PRODUCT}, diffs/s x {_RAW}": kept}


def _make_workload(folder: Path, arguments: argparse.Namespace) -> Workload:
    """Diffs that no two are alike, planned by the product; the first shards are for warming up."""
    texts = itertools.islice((diff.text for diff in training_diffs(DEFAULT_SEED)), arguments.diffs)
    path = folder / "diffs.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    known = catalogue().models.get(arguments.model)
    engine = {**(known.engine if known else {}), "enforce_eager": arguments.eager}
    job = {
        "name": "reviews",
        "task": "code_review",
        "input": str(path),
        "output": str(folder / "runs"),
        "model": {"source": known.source if known else str(Path(arguments.model).resolve()), "engine": engine},
        "review": {"max_output_tokens": arguments.max_output_tokens},
        "escalation": "off",
        "quality": "off",
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    checked = load_job(folder / "job.yaml")
    run = prepare_run(checked, list_sources(checked.input))
    workload = Workload(run, plan_documents(run, ProgressReporter(Console(file=io.StringIO()))))
    if not workload.measured_shards:
        raise SystemExit(f"{arguments.diffs} diffs make only {workload.plan.shards} shards; ask for more --diffs")
    return workload


def _round(workload: Workload, folder: Path, number: int, console: Console) -> dict[str, Timing]:
    """Every row once, each on a copy of the planned run; starting with another row each time."""
    timings = {}
    for row in [_RAW, _PRODUCT] if number % 2 == 0 else [_PRODUCT, _RAW]:
        home = folder / row.replace(" ", "-")
        shutil.copytree(workload.run.store.root, home / "run")
        busy = busy_cores()
        timing = timings[row] = Timing(**ask("review_rows", [row, home / "run"], home))
        what = f"{timing.items:,} diffs and {timing.claims:,} claims in {timing.seconds:6.2f} s"
        console.print(f"round {number + 1}  {row:<20} {what}: {timing.items / timing.seconds:5.1f}/s{remark(busy)}")
    return timings


def _table(rounds: Sequence[dict[str, Timing]]) -> Table:
    """Answer tokens and claims tell whether both rows did the same work."""
    table = Table("row", "diffs/s", f"x {_RAW}", "answer tokens", "claims", "verification's time", "of it cached")
    for row in ROWS:
        timings = [timings[row] for timings in rounds]
        ratios = [_speed(timings[row]) / _speed(timings[_RAW]) for timings in rounds]
        table.add_row(
            row,
            _spread(map(_speed, timings), "{:,.1f}".format),
            _spread(ratios, "{:.2f}".format),
            _spread((timing.output_tokens for timing in timings), "{:,.0f}".format),
            _spread((timing.claims for timing in timings), "{:,.0f}".format),
            _spread((timing.verification_share for timing in timings), "{:.1%}".format),
            _spread((timing.cached_share for timing in timings), "{:.1%}".format),
        )
    table.caption = f"median (smallest-largest) of {len(rounds)} rounds; ratios are taken within a round"
    return table


def _speed(timing: Timing) -> float:
    return timing.items / timing.seconds


def _spread(values: Iterable[float], show: Callable[[float], str]) -> str:
    known = list(values)
    return f"{show(statistics.median(known))} ({show(min(known))}-{show(max(known))})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--diffs", type=int, default=2_000, help=f"the first {WARM_SHARDS} shards of them warm up")
    parser.add_argument("--model", default=MODEL_NAME, help="a name in the catalogue, or a model's folder")
    parser.add_argument("--max-output-tokens", type=int, default=128)
    parser.set_defaults(eager=False)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--compile", dest="eager", action="store_false", help="vLLM's default, and the product's for long runs"
    )
    mode.add_argument("--eager", action="store_true", help="the product's choice for short runs on a CPU")
    return parser


if __name__ == "__main__":
    main()
