"""What a run takes up again whose command was killed with SIGKILL: while it plans, and while it only scores.

``python -m tests.bench.resuming [--items N]``. The documents and the engines are those of `tests.bench.growth`; in the
second run the engines take a while for each prompt, so that the plan is whole when little is scored. The command that
goes on counts, in its own process, the documents that it reads, those that it tokenises, and the parts of the plan that
it reads; engines read theirs in processes of their own. Every item must be in the results once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from rich.console import Console

from infra.local.engine import STAND_IN
from tests.bench.children import COMMAND, REPOSITORY, busy_cores, child_environment, run_logged
from tests.bench.growth import write_documents, write_job
from tests.bench.provenance import as_lines, markdown, provenance

_LOOK_SECONDS, _TIMEOUT_SECONDS = 0.1, 7_200
_SLOW_ENGINE = {"ENGINE_STAND_IN_SECONDS_PER_TOKEN": "0.001"}
_COLUMNS = [
    "killed",
    "shards committed, of the plan",
    "of the predictions",
    "documents read again",
    "tokenised again",
    "plan parts read by the command",
    "its processor time, s",
    "rows",
]


def main(words: Sequence[str] | None = None) -> None:
    """Kill, resume, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    arguments = parser.parse_args(words)
    console = Console(highlight=False, width=160, soft_wrap=True)
    facts, cells = provenance(busy_cores()), list[list[object]]()
    moments: dict[str, tuple[Callable[[Path], bool], dict[str, str]]] = {
        "while it plans": (lambda root: _count(root, "plan") > arguments.items // 4_096, {}),
        "while it scores": (lambda root: (root / "plan/complete.json").exists(), _SLOW_ENGINE),
    }
    for name, (is_time, extra) in moments.items():
        cells.append(_row(name, arguments.items, is_time, extra))
        console.print(*cells[-1], sep=", ", markup=False)
    console.print(f"{markdown(_COLUMNS, cells)}\n\n{as_lines(facts)}", markup=False)


def _row(name: str, items: int, is_time: Callable[[Path], bool], extra: dict[str, str]) -> list[object]:
    with tempfile.TemporaryDirectory(prefix="sluice-resuming-", ignore_cleanup_errors=True) as home:
        folder = Path(home)
        write_documents(folder / "documents", items)
        job = write_job(folder / "job.yaml", folder / "documents", str(folder / "runs"), "off")
        root = folder / "runs/resuming"
        environment = child_environment(folder, {"PYTHONPATH": f"{STAND_IN}:{REPOSITORY}", **extra})
        _submit_and_kill(job, environment, folder / "killed.txt", lambda: is_time(root))
        planned, scored = _count(root, "plan"), _count(root, "predictions")
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.bench.resuming",
            "inside",
            root,
            folder / "answer.json",
        ]
        environment.pop("ENGINE_STAND_IN_SECONDS_PER_TOKEN", None)
        run_logged(command, folder / "log.txt", environment, _TIMEOUT_SECONDS)
        counts = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        rows = ds.dataset(str(root / "results"), format="parquet").to_table(columns=["item_id"])
        assert rows.num_rows == items == len(rows["item_id"].unique()), "an item is not there, or is there twice"
        shards = _count(root, "predictions")
    told = [f"{counts.get(what, 0):,}" for what in ("documents", "tokenised", "plan parts")]
    return [name, f"{planned:,} of {shards:,}", f"{scored:,}", *told, f"{counts['seconds']:.1f}", f"{items:,}"]


def _submit_and_kill(job: Path, environment: dict[str, str], log: Path, is_time: Callable[[], bool]) -> None:
    """Kill the command, and all that it started: they are of its session."""
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [COMMAND, "submit", job, "--run-id", "resuming"],
            env=environment,
            cwd=REPOSITORY,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        while not is_time():
            if process.poll() is not None:
                raise SystemExit(f"it ended before it could be killed\n{log.read_text(errors='replace')[-4_000:]}")
            time.sleep(_LOOK_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _count(root: Path, folder: str) -> int:
    return len(list((root / folder).glob("part-*")))


def _inside(root: str, answer: str) -> None:
    """Resume, and count what is taken up."""
    from flows.cli import app
    from flows.questions import classification
    from pipelines.store.objects import Store

    counts, imported = Counter[str](), vars(classification)
    read_documents, encode, read = (
        imported["read_documents"],
        classification.LabelQuestion.encode,
        Store.read_if_exists,
    )

    def counting_documents(*given: Any) -> Iterator[Any]:
        for document in read_documents(*given):
            counts["documents"] += 1
            yield document

    def counting_texts(self: Any, texts: list[str]) -> Any:
        counts["tokenised"] += len(texts)
        return encode(self, texts)

    def counting_reads(self: Store, key: str) -> bytes | None:
        counts["plan parts"] += key.startswith("plan/part-")
        return read(self, key)

    imported["read_documents"] = counting_documents
    classification.LabelQuestion.encode = counting_texts  # type: ignore[method-assign]  # counted here
    Store.read_if_exists = counting_reads  # type: ignore[method-assign]  # and here
    started, code = time.process_time(), 0
    try:
        app(["resume", root])
    except SystemExit as ended:
        code = int(ended.code or 0)
    told = {**counts, "seconds": time.process_time() - started}
    Path(answer).write_text(json.dumps(told), encoding="utf-8")
    if code:
        raise SystemExit(code)


def _entry(words: Iterable[str]) -> None:
    match list(words):
        case ["inside", root, answer]:
            _inside(root, answer)
        case given:
            main(given)


if __name__ == "__main__":
    _entry(sys.argv[1:])
