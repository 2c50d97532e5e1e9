"""The fault matrix: every fault of the local service, at every point where a process can die, once and three times.

    python -m tests.faults.matrix            the whole of it, some minutes: what `make prove` runs
    python -m tests.faults.matrix --short    what `make test` runs

Prints one line per fault and a total: cases, rows lost, rows repeated, items billed twice, cost that does not add up.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import transformers.tokenization_utils_tokenizers  # noqa: F401  # two seconds, which every fork would take again

from tests.faults.escalation_case import POINTS, check, escalate_once, in_child, prepare
from tests.infra.message_batches_server import Server

ITEMS = 60
_MOST_PROCESSES = 25
_WRONG = ("lost", "repeated", "twice", "unbooked")

FAULTS = {
    "create": (
        *("accept_then_drop", "accept_then_500", "accept_then_504", "accept_then_garbled", "refuse_then_drop"),
        *("400_usage_limit", "401", "402", "403", "409", "429", "429_spend_cap", "500", "503", "529", "html_413"),
    ),
    "retrieve": ("not_found",),
    "list": ("refuse_then_drop", "500", "429", "529"),
    "results": ("cut_content_length", "cut_chunked", "cut_within_line", "cut_at_line_end", "not_found", "500"),
    "process": (
        *("refusal", "max_tokens_empty", "thinking_first", "label_other_case", "unknown_label", "invalid_json"),
        *("errored_api_error", "errored_overloaded", "errored_invalid_request", "missing_row", "duplicate_row"),
        *("unknown_row", "credit_balance", "expire_part", "cancel_part"),
    ),
}


@dataclass(frozen=True)
class Case:
    """One fault, happening so often, with a process killed so often at one point."""

    at: str
    kind: str
    point: str
    times: int


def cases(is_short: bool) -> Iterator[Case]:
    """Every case; in short, every fault once, the points of death taken in turn."""
    if is_short:
        pairs = [(at, kind) for at, kinds in FAULTS.items() for kind in kinds]
        for number, (at, kind) in enumerate(pairs):
            yield Case(at, kind, POINTS[number % len(POINTS)], 1)
        return
    for at, kinds in FAULTS.items():
        for kind in kinds:
            for point in POINTS:
                for times in (1, 3):
                    yield Case(at, kind, point, times)


Outcome = tuple[Case, str, Counter[str]]


def run_cases(template: Path, given: Sequence[Case], folder: Path) -> list[Outcome]:
    """Run cases one after the other, against one service: of each, a complaint, or nothing, and its counts."""
    folder.mkdir()
    options = ("--answer-key", str(template / "answers.jsonl"), "--error-rate", "0")
    outcomes = []
    with Server(folder / "service", *options) as server:
        for number, case in enumerate(given):
            outcomes.append((case, *run_case(template, case, folder / f"case-{number}", server)))
    return outcomes


def run_case(template: Path, case: Case, folder: Path, server: Server) -> tuple[str, Counter[str]]:
    """Run one case to its end; a complaint, or nothing, and its counts."""
    root = folder / "run"
    shutil.copytree(template / "run", root)
    server.control("reset", {})
    server.fault(case.at, case.kind, times=case.times)
    kills, processes, code = case.times, 0, -1
    while code != 0 and processes < _MOST_PROCESSES:
        processes += 1
        code = in_child(partial(escalate_once, str(root), server.url, case.point if kills else "never"))
        kills -= code < 0
    billing = server.control("billing")["custom_ids"]
    if code != 0:
        return f"never ended (exit code {code})", Counter(cases=1, processes=processes)
    assert in_child(lambda: _write_check(root, billing, folder / "check.json")) == 0
    counts = Counter(json.loads((folder / "check.json").read_text())) + Counter(cases=1, processes=processes)
    return ", ".join(f"{name} {counts[name]}" for name in _WRONG if counts[name]), counts


def _write_check(root: Path, billing: dict[str, dict[str, int]], path: Path) -> None:
    path.write_text(json.dumps(check(str(root), billing, ITEMS)))


def run_all(given: Sequence[Case], jobs: int, folder: Path) -> Iterator[Outcome]:
    """Run cases in several processes, which fork in their turn; none keeps a thread."""
    template = folder / "template"
    assert in_child(partial(prepare, template, ITEMS)) == 0
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
        shares = [given[job::jobs] for job in range(jobs)]
        running = [pool.submit(run_cases, template, share, folder / f"job-{job}") for job, share in enumerate(shares)]
        for future in as_completed(running):
            yield from future.result()


def main() -> int:
    """Run the matrix and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", help="a fault's name")
    parser.add_argument("--jobs", type=int, default=4, help="cases at a time; they wait more than they compute")
    arguments = parser.parse_args()
    gc.freeze()  # no fork looks through what all have in common
    started, total, complaints = time.monotonic(), Counter[str](), 0
    chosen = [case for case in cases(arguments.short) if arguments.only in (None, case.kind)]
    by_fault = {f"{case.at} {case.kind}": Counter[str]() for case in chosen}
    with tempfile.TemporaryDirectory() as temporary:
        for case, complaint, counts in run_all(chosen, arguments.jobs, Path(temporary)):
            if complaint:
                complaints += 1
                print(f"WRONG {case}: {complaint}", flush=True)
            total.update(counts)
            by_fault[f"{case.at} {case.kind}"].update(counts)
    columns = ("cases", "processes", "lost", "repeated", "twice", "unbooked", "unknowable", "review")
    print(f"\n{'fault':34}" + "".join(f"{name:>11}" for name in columns))
    for name, counts in [*by_fault.items(), ("all", total)]:
        print(f"{name:34}" + "".join(f"{counts[column]:>11,}" for column in columns))
    print(f"{time.monotonic() - started:.0f} s")
    return int(complaints > 0)


if __name__ == "__main__":
    sys.exit(main())
