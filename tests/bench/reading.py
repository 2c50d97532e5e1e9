"""How long the commands that read a run take on a large one: ``python -m tests.bench.reading [--rows 1000000]``.

The run is written directly, part by part, as planning, engines and publishing would leave it; no engine, Ray or Prefect
starts. Once it is complete, and once cut off while it is scored.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from flows.run_record import FORMAT, RunRecord
from pipelines.store import layout
from pipelines.store.schemas import ITEM_FIELDS, MONEY, PLAN, PREDICTIONS, RESULTS, to_arrow
from tests.bench.children import COMMAND, busy_cores, child_environment, machine
from tests.made_up_run import NOW, accepted, escalated, failed, write_tables

_ROWS_A_PART = 50_000
_ITEMS_A_SHARD = 250
_ROUTES = ("accepted",) * 78 + ("escalated",) * 21 + ("failed",)
# None of these is to be waited for longer; printed beside what was measured.
_PROMISED_SECONDS = 2.0


def main(words: Sequence[str] | None = None) -> dict[str, float]:
    """Write the runs, run each command some times, print, and return the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args(words)
    console = Console(highlight=False, width=120)
    console.print(machine(busy_cores()))
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        whole, under_way = folder / "out" / "made-up", folder / "out" / "cut-off"
        _write_whole(whole, arguments.rows)
        _cut_off(whole, under_way)
        table = Table(
            "command",
            "seconds",
            "spread",
            "of a processor",
            title=f"{arguments.rows:,} rows; at most 2 s each are promised",
        )
        medians: dict[str, float] = {}
        for what, command in _commands(whole, under_way, folder):
            taken = [_seconds(command, folder) for _ in range(arguments.times)]
            seconds = [each[0] for each in taken]
            medians[f"{what}, seconds"] = median = statistics.median(seconds)
            late = "" if median < _PROMISED_SECONDS else "  late"
            computed = statistics.median(each[1] for each in taken)
            table.add_row(what, f"{median:.2f}", f"{min(seconds):.2f}-{max(seconds):.2f}{late}", f"{computed:.2f}")
        console.print(table)
    return medians


def _commands(whole: Path, under_way: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    run = str(whole)
    yield "pipeline --help", ["--help"]
    yield "pipeline runs OUTPUT", ["runs", str(whole.parent)]
    yield "pipeline status RUN", ["status", run]
    yield "pipeline status RUN, being scored", ["status", str(under_way)]
    yield "pipeline watch RUN --once, being scored", ["watch", str(under_way), "--once"]
    yield "pipeline results RUN", ["results", run]
    yield "pipeline results RUN --route failed", ["results", run, "--route", "failed"]
    yield "pipeline cost RUN", ["cost", run]
    yield "pipeline cost RUN --compare", ["cost", run, "--compare"]
    yield "pipeline report RUN", ["report", run, "-o", str(folder / "report.html")]


def _seconds(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Until it has ended, and of processors: the second says what the first would be on a quiet machine, at most."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [COMMAND, *arguments], env=child_environment(folder), cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, computed


def _write_whole(root: Path, rows: int) -> None:
    counts = [min(_ROWS_A_PART, rows - first) for first in range(0, rows, _ROWS_A_PART)]
    first_part = _made_rows()
    write_tables(root, [_rows(first_part, part, count) for part, count in enumerate(counts)])
    (root / layout.RUN).write_text(_record(root.name).model_dump_json())
    shards = -(-rows // _ITEMS_A_SHARD)
    plan, predictions = _plan_part(), _predictions_part()
    for folder in (layout.PLAN, layout.PREDICTIONS):
        (root / folder).mkdir()
    for shard in range(shards):
        (root / layout.plan_part(shard)).write_bytes(plan)
        (root / layout.predictions_part(shard)).write_bytes(predictions)
    whole = {
        "shards": shards,
        "items": rows,
        "failed_items": rows // 100,
        "gold_items": 0,
        "document_tokens": rows * 60,
    }
    (root / layout.PLAN_COMPLETE).write_text(json.dumps(whole))


def _record(run_id: str) -> RunRecord:
    unknown = dict.fromkeys(("model_revision", "prompt_fingerprint", "input_fingerprint", "price_book"), "x")
    about: dict[str, Any] = {"format": FORMAT, "run_id": run_id, "created_at": NOW, "model": "qwen3.5-9b", **unknown}
    return RunRecord(**about, input_files=1, input_bytes=1, versions={})


def _made_rows() -> pa.Table:
    made = {"accepted": accepted, "escalated": escalated}
    routes = [_ROUTES[number % len(_ROUTES)] for number in range(1_000)]
    rows = [
        failed(number) if route == "failed" else made[route](number, scored_at=NOW + timedelta(milliseconds=number))
        for number, route in enumerate(routes)
    ]
    return pa.Table.from_pylist(rows, RESULTS)


def _rows(made: pa.Table, part: int, count: int) -> pa.Table:
    """So many rows like the made ones, each with an id of its own."""
    table = made.take(pa.array(np.arange(count) % len(made)))
    numbers = np.arange(count) + part * _ROWS_A_PART
    own: dict[str, Any] = {
        # Ids are digests: spread over their whole range, in no order.
        "item_id": pa.array([f"itm_{number * 11400714819323198485 % 2**64:020d}" for number in numbers.tolist()]),
        "document_id": pa.array([f"ticket-{number:07d}" for number in numbers.tolist()]),
    }
    chance = np.random.default_rng(part)
    for name in (
        "raw_prob",
        "confidence",
        "label_mass",
        "gpu_seconds",
    ):  # numbers that do not repeat, as a run's do not
        own[name] = pc.if_else(pc.is_valid(table[name]), pa.array(chance.random(count)), None)
    for name in ("gpu_cost_usd", "cost_usd"):
        more = [Decimal(number).scaleb(-12) for number in chance.integers(10**6, size=count).tolist()]
        own[name] = pc.add(table[name], pa.array(more, MONEY)).cast(MONEY)
    for name, column in own.items():
        table = table.set_column(table.schema.get_field_index(name), RESULTS.field(name), column)
    return table.cast(RESULTS)


def _plan_part() -> bytes:
    items = [
        {name: "x" for name in ("item_id", "document_id", "document_uri")}
        | {"document_offset": number, "text": "word " * 60, "tokens": [7] * 60}
        for number in range(_ITEMS_A_SHARD)
    ]
    return to_arrow(pa.Table.from_pylist(items, PLAN))


def _predictions_part() -> bytes:
    struct = pa.struct([field.with_nullable(True) for field in PREDICTIONS if field.name != "item_id"])
    said = {
        "label_logprobs": [-0.1, -2.5],
        "input_tokens": 400,
        "cached_tokens": 96,
        "output_tokens": 1,
        "device_nanoseconds": 1_777_000,
        "scored_at": NOW,
    }
    items = [
        {name: "x" for name in ("item_id", "document_id", "document_uri")}
        | {"document_offset": number, "text_bytes": 300, "prediction": said}
        for number in range(_ITEMS_A_SHARD)
    ]
    return to_arrow(pa.Table.from_pylist(items, pa.schema([*ITEM_FIELDS, pa.field("prediction", struct)])))


def _cut_off(whole: Path, root: Path) -> None:
    """The same run, killed when half the shards were scored; its plan not whole either."""
    shutil.copytree(whole, root, ignore=shutil.ignore_patterns("results", "summary.json", "_COMPLETE", "complete.json"))
    parts = sorted((root / layout.PREDICTIONS).iterdir())
    for part in parts[len(parts) // 2 :]:
        part.unlink()


if __name__ == "__main__":
    main()
