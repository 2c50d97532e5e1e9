"""A run's dataset and its costs, against the plan, the service's books and a run that nobody disturbed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.dataset as dataset

from pipelines.store import layout
from tests.chaos.documents import DOCUMENTS
from tests.chaos.runs import ChaosRun
from tests.faults.escalation_case import check

WRONG = ("lost", "duplicated", "different", "billed twice", "cost")
# What a document comes to, whatever happens on the way.
_FATE = ("answer", "route", "engine_answer")


@dataclass(frozen=True)
class Ending:
    """What a complete run left behind: each document's fate, and what is wrong even without a comparison."""

    fates: dict[str, tuple[Any, ...]]
    counts: Counter[str]


def ending_of(run: ChaosRun) -> Ending:
    """Read a complete run's results, and check them against the documents and the batch service's books."""
    root = run.folder / "run"
    _download(run, root)
    return read_ending(root, run.world.claude.control("billing")["custom_ids"])


def read_ending(root: Path, billing: dict[str, dict[str, int]]) -> Ending:
    """The same, from a folder with the run's results and summary, and what was billed by custom id."""
    rows = dataset.dataset(root / layout.RESULTS).to_table().to_pylist()
    summary = json.loads((root / layout.SUMMARY).read_text())
    books = check(str(root), billing, DOCUMENTS)
    asked = {custom_id.rpartition("-")[2] for custom_id in billing}
    fates = {row["document_id"]: tuple(row[name] for name in _FATE) for row in rows}
    counts = Counter(
        {
            "lost": DOCUMENTS - len(fates),
            "duplicated": max(books["repeated"], len(rows) - len(fates)),
            "billed twice": books["twice"] + len(billing) - len(asked),
            "cost": books["unbooked"] + books["unknowable"] + _sums_that_differ(summary, rows),
        }
    )
    return Ending(fates, counts)


def compare(ending: Ending, undisturbed: Ending) -> Counter[str]:
    """Everything that is wrong with a run, counted."""
    found = ending.fates.keys() & undisturbed.fates.keys()
    different = sum(ending.fates[document] != undisturbed.fates[document] for document in found)
    return ending.counts + Counter(different=different + len(ending.fates.keys() - undisturbed.fates.keys()))


def _sums_that_differ(summary: dict[str, Any], rows: list[dict[str, Any]]) -> int:
    """How many of the summary's numbers are not the sum of the rows, to the last digit."""
    routes = Counter(row["route"] for row in rows)
    pairs: list[tuple[object, object]] = [
        (summary["items"], len(rows)),
        ({route: part["items"] for route, part in summary["routes"].items() if part["items"]}, dict(routes)),
    ]
    for column in ("api_cost_usd", "gpu_cost_usd", "cost_usd"):
        known = [row[column] for row in rows if row[column] is not None]
        total = sum(known, Decimal(0)) if len(known) == len(rows) else None
        pairs.append((summary[column] if total is None else Decimal(summary[column]), total))
    return sum(told != counted for told, counted in pairs)


def _download(run: ChaosRun, folder: Path) -> None:
    keys = [layout.SUMMARY]
    keys += [key.removeprefix(f"{run.root}/") for key in run.world.keys(run.bucket, f"{run.root}/{layout.RESULTS}/")]
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(run.world.get(run.bucket, f"{run.root}/{key}"))
