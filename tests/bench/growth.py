"""How a whole run grows with its input, where the engine costs next to nothing: what is left is the product.

``python -m tests.bench.growth [--items N ...] [--s3] [--out FOLDER]``. Short documents, 60 words each, the same ones
every time; `pipeline submit` in a process of its own, from its start to `_COMPLETE`, with engines that answer at once
(`infra/local/engine`) through the usual Ray actors. With ``--s3`` also on a local S3 whose every request waits (see
`infra/local/s3/delaying_proxy.py`); the emulator and the proxy then share the cores, and what they take is told.

The stages are read off the committed objects: their files' times, or the proxy's note. Once they overlap they do not
add up. The driver's memory is `VmHWM` of its process (the highest resident set, pages it shares included); CPU seconds
are those of the command and all it started, and hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import boto3
import psutil
import pyarrow.dataset as ds
import yaml
from rich.console import Console

from infra.local.engine import STAND_IN
from infra.local.s3 import DelayingProxy, Emulator, Request
from tests.bench.children import COMMAND, REPOSITORY, busy_cores, child_environment, remark
from tests.bench.provenance import as_lines, markdown, provenance
from tests.bench.workload import HELDOUT, TICKETS_JOB, read_texts

_WORDS, _DOCUMENTS_PER_FILE, _SEED = 60, 50_000, 14
_BUCKET = "growth"
_LOOK_SECONDS = 0.2

Times = dict[str, list[float]]  # by the folder or name of an object below the run: when such a one was committed


def main(words: Sequence[str] | None = None) -> dict[str, float]:
    """Measure, print, save; return the speeds."""
    arguments = _parser().parse_args(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False, width=200, soft_wrap=True)
    facts = provenance(busy_cores())
    measured: list[dict[str, Any]] = []
    for items in arguments.items:
        for place in ["folder", "s3"] if arguments.s3 else ["folder"]:
            with tempfile.TemporaryDirectory(prefix="sluice-growth-", ignore_cleanup_errors=True) as name:
                busy = busy_cores()
                row = measure(Path(name), items, place, arguments.delay_ms / 1000, arguments.quality)
            measured.append({"busy_cores_before": round(busy, 2), **row})
            console.print(f"{items:>10,} items, {place}: {row['seconds']:.1f} s{remark(busy)}", markup=False)
            report = {**facts, "delay_ms": arguments.delay_ms, "quality": arguments.quality, "rows": measured}
            (arguments.out / "growth.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    text = f"{_table(measured)}\n\n{_requests_table(measured)}\n{as_lines(facts)}\n"
    (arguments.out / "growth.md").write_text(text, encoding="utf-8")
    console.print(text, markup=False)
    return {f"{row['items']:,} items, {row['place']}, items/s": row["items_per_second"] for row in measured}


def measure(folder: Path, items: int, place: str, delay_seconds: float, quality: str) -> dict[str, Any]:
    """One run of a new input; everything it leaves is below ``folder``."""
    documents = folder / "documents"
    write_documents(documents, items)
    with ExitStack() as servers:
        extra = {"PYTHONPATH": str(STAND_IN), "PYTHONUNBUFFERED": "1"}
        proxy, helpers, output = None, {}, str(folder / "runs")
        if place == "s3":
            emulator = servers.enter_context(Emulator(folder / "emulator"))
            variables = emulator.client_variables()
            boto3.client(
                "s3",
                endpoint_url=emulator.endpoint,
                region_name=variables["AWS_REGION"],
                aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            ).create_bucket(Bucket=_BUCKET)
            proxy = servers.enter_context(DelayingProxy(folder / "proxy", emulator.endpoint, delay_seconds))
            extra |= variables | {"AWS_ENDPOINT_URL": proxy.endpoint}
            helpers, output = {"emulator": emulator.pid, "proxy": proxy.pid}, f"s3://{_BUCKET}/runs"
        job = write_job(folder / "job.yaml", documents, output, quality)
        started_at = time.time()
        run = _submit(folder, job, child_environment(folder, extra), helpers)
        requests = proxy.requests() if proxy else []
        times = _noted(requests) if proxy else _on_disk(folder / "runs" / "growth")
    if not proxy:
        rows = ds.dataset(str(folder / "runs/growth/results"), format="parquet").count_rows()
        assert rows == items, f"{rows:,} rows of {items:,} items"
    finished_at = times["_COMPLETE"][-1]
    shards = len(times["predictions"])
    row = {
        "items": items,
        "place": place,
        "seconds": finished_at - started_at,
        "items_per_second": items / (finished_at - started_at),
        "shards": shards,
        "stages": _stages(times, started_at),
        **run,
    }
    if proxy:
        row["requests_after_scoring_per_shard"] = _after_scoring(requests, times["predictions"][-1], shards)
        row["requests"] = len(requests)
    return row


def write_documents(folder: Path, items: int) -> None:
    """Documents of words that the sample tickets use, by chance but the same every time."""
    folder.mkdir()
    words = sorted({word for text in read_texts(HELDOUT) for word in text.split() if word.isalpha()})
    draw = random.Random(_SEED)
    for first in range(0, items, _DOCUMENTS_PER_FILE):
        with (folder / f"documents-{first // _DOCUMENTS_PER_FILE:05d}.jsonl").open("w", encoding="utf-8") as stream:
            for number in range(first, min(first + _DOCUMENTS_PER_FILE, items)):
                text = " ".join(draw.choices(words, k=_WORDS))
                stream.write(f'{{"id": "doc-{number}", "text": {json.dumps(text)}}}\n')


def write_job(path: Path, documents: Path, output: str, quality: str) -> Path:
    """The sample job without escalation; ``quality``: off, or a threshold for every item by itself."""
    job = yaml.safe_load(TICKETS_JOB.read_text(encoding="utf-8")) | {
        "input": str(documents),
        "output": output,
        "escalation": "off",
        "quality": "off" if quality == "off" else {"raw_threshold": float(quality)},
    }
    job.pop("evaluation", None), job.pop("compute", None), job.pop("policy", None)
    path.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    return path


def _submit(folder: Path, job: Path, environment: Mapping[str, str], helpers: Mapping[str, int]) -> dict[str, Any]:
    """Run the command, and watch what it takes."""
    log, peak, cpu = folder / "submit.txt", 0, dict[int, tuple[str, float]]()
    helped = {name: _cpu_seconds(psutil.Process(pid)) for name, pid in helpers.items()}
    with (
        log.open("w", encoding="utf-8") as stream,
        subprocess.Popen(
            [COMMAND, "submit", job, "--run-id", "growth"],
            env=dict(environment),
            cwd=REPOSITORY,
            stdout=stream,
            stderr=stream,
        ) as process,
    ):
        driver = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
                peak = max(peak, _highest_resident_bytes(process.pid))
                for each in [driver, *driver.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        if each.cmdline():  # one that has ended has none, and would be taken for another
                            cpu[each.pid] = (_what(each, driver), _cpu_seconds(each))
            time.sleep(_LOOK_SECONDS)
    if process.returncode:
        raise SystemExit(log.read_text(encoding="utf-8", errors="replace")[-8_000:])
    seconds: Counter[str] = Counter()
    for what, taken in cpu.values():
        seconds[what] += taken  # type: ignore[assignment]  # a Counter adds floats as well
    for name, pid in helpers.items():
        seconds[name] = _cpu_seconds(psutil.Process(pid)) - helped[name]  # type: ignore[assignment]  # as above
    rounded = {name: round(taken, 1) for name, taken in seconds.items()}
    return {"driver_peak_bytes": peak, "cpu_seconds": rounded}


def _what(process: psutil.Process, driver: psutil.Process) -> str:
    if process == driver:
        return "driver"
    line = " ".join(process.cmdline())
    return "engines" if "ray::Scorer" in line else "prefect" if "prefect" in line else "ray"


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _highest_resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _on_disk(root: Path) -> Times:
    """When each object was written, by its file; a commit adds a name and leaves that as it is."""
    return _sorted((path.relative_to(root).as_posix(), path.stat().st_mtime) for path in root.rglob("*.*")) | _sorted(
        [("_COMPLETE", (root / "_COMPLETE").stat().st_mtime)]
    )


def _noted(requests: list[Request]) -> Times:
    """When each object was put."""
    marker = f"/{_BUCKET}/runs/growth/"
    puts = [each for each in requests if each.method == "PUT" and each.status == 200 and each.path.startswith(marker)]
    return _sorted((each.path.removeprefix(marker), each.at) for each in puts)


def _sorted(objects: Any) -> Times:
    times: Times = {}
    for key, at in objects:
        name = key if key.startswith("plan/complete") else key.split("/")[0]
        times.setdefault(name, []).append(at)
    return {name: sorted(found) for name, found in times.items()}


def _stages(times: Times, started_at: float) -> dict[str, float]:
    """Seconds of each, and when scoring began."""
    plan, scored, results = times["plan"], times["predictions"], times["results"]
    planned_at = times["plan/complete.json"][-1]
    last_scored = max(scored[-1], planned_at)
    decided_at = times["calibration"][-1] if "calibration" in times else last_scored
    return {
        "until_planning": plan[0] - started_at,
        "plan": planned_at - plan[0],
        "until_first_scored": scored[0] - started_at,
        "score": scored[-1] - min(scored[0], planned_at) if scored[0] < planned_at else scored[-1] - planned_at,
        "decide": decided_at - last_scored,
        "publish": results[-1] - decided_at,
        "complete": times["_COMPLETE"][-1] - results[-1],
    }


def _after_scoring(requests: list[Request], scored_at: float, shards: int) -> dict[str, float]:
    counts = Counter(f"{each.method} {_folder(each)}" for each in requests if each.at > scored_at)
    return {what: round(count / shards, 3) for what, count in sorted(counts.items())}


def _folder(request: Request) -> str:
    parts = request.path.removeprefix(f"/{_BUCKET}").strip("/").split("/")
    return f"{parts[2]}/" if len(parts) > 3 else "list" if len(parts) < 3 else parts[2]


def _table(rows: list[dict[str, Any]]) -> str:
    stages = ["until_planning", "plan", "until_first_scored", "score", "decide", "publish", "complete"]
    columns = ["items", "where", "seconds", "items/s", "shards", *(stage.replace("_", " ") for stage in stages)]
    columns += ["driver's peak, MiB", "CPU s", "items per CPU s of the run"]
    cells = []
    for row in rows:
        own = sum(taken for who, taken in row["cpu_seconds"].items() if who not in ("emulator", "proxy"))
        cpu = ", ".join(f"{who} {taken:.0f}" for who, taken in sorted(row["cpu_seconds"].items()))
        cells.append(
            [
                f"{row['items']:,}",
                row["place"],
                f"{row['seconds']:.1f}",
                f"{row['items_per_second']:,.0f}",
                row["shards"],
                *(f"{row['stages'][stage]:.1f}" for stage in stages),
                f"{row['driver_peak_bytes'] / 2**20:,.0f}",
                cpu,
                f"{row['items'] / own:,.0f}",
            ]
        )
    return markdown(columns, cells)


def _requests_table(rows: list[dict[str, Any]]) -> str:
    known = [row for row in rows if "requests" in row]
    if not known:
        return ""
    cells = [
        [
            f"{row['items']:,}",
            row["requests"],
            f"{sum(row['requests_after_scoring_per_shard'].values()):.2f}",
            ", ".join(f"{what} {count:g}" for what, count in row["requests_after_scoring_per_shard"].items()),
        ]
        for row in known
    ]
    return markdown(["items", "requests", "after scoring, per shard", "of these"], cells) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--s3", action="store_true", help="each size on a local S3 too")
    parser.add_argument("--delay-ms", type=float, default=25, help="that each request to S3 waits")
    parser.add_argument("--quality", default="off", help="off, or a threshold for each item by itself, as 0.9")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"), help="for growth.json and growth.md")
    return parser


if __name__ == "__main__":
    main()
