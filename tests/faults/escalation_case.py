"""One run whose items are all doubtful, and one escalation of it that is killed and resumed until it is done.

Scoring is made up: what is under test is everything from the journal to the published rows, with the real SDK
against the real local service. Processes are forks of one that has imported everything, so that a case takes a
second; they die of a real SIGKILL, sent at a chosen point.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as dataset
from numpy.typing import NDArray
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.deciding.item_by_item import decide_item_by_item
from flows.escalation import escalate
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, open_run, prepare_run
from flows.stages import planning, publishing
from pipelines.costs.price_book import TokenUsage, price_book
from pipelines.errors import ProviderError
from pipelines.escalation.patience import PatientProvider
from pipelines.escalation.provider import BatchProvider, BatchStatus, ItemResult, Request
from pipelines.job.job import Job
from pipelines.scored_parts import items_of_plan, scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow, to_arrow
from workers.engines.requests import ShardScores
from workers.engines.scorer import prediction_table
from workers.providers.claude import ClaudeBatches, connect

REPOSITORY = Path(__file__).resolve().parents[2]
LABELS = ["billing", "outage", "delivery"]
MODEL = "claude-haiku-4-5"
# The local service lists a batch at once, and a killed process has had its answer: there is nothing to wait for.
SETTLE_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 0.02

# Where a process is killed; "never" is the run without a kill.
POINTS = ("before POST", "after POST before id", "while polling", "while reading results", "while publishing")


def prepare(folder: Path, items: int, *, is_informed: bool = False, **job_changes: Any) -> None:
    """A planned run in ``folder/run``, with made-up predictions and an answer key.

    They leave every item doubtful; those of an informed engine are right as often as it says that it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "documents.jsonl").open("w") as stream:
        for number in range(items):
            text = f"Document number {number}: please look into it, thank you."
            stream.write(json.dumps({"id": f"d{number}", "text": text, "label": LABELS[number % 3]}) + "\n")
    job = Job.model_validate(
        {
            "name": "faults",
            "task": "classification",
            "input": str(folder / "documents.jsonl"),
            "output": str(folder),
            "model": "starter",
            "labels": {name: None for name in LABELS},
            "quality": {"raw_threshold": 0.9},
            "escalation": {"model": MODEL, "provider": "simulation", "chunk_items": 25},
            "evaluation": {"gold_column": "label"},
            "compute": {"device_hour_usd": "0.05"},
        }
        | job_changes
    )
    run = prepare_run(job, check_surroundings(job), "run")
    plan = planning.plan_documents(run, quiet())
    for shard in range(plan.shards):
        table = items_of_plan(run.store.read(layout.plan_part(shard)))
        count = len(table)
        gold = list(map(str, table["gold_label"].to_pylist()))
        even = np.full((count, len(LABELS)), np.log(1 / len(LABELS)), np.float32)
        logprobs = informed(gold) if is_informed else even
        numbers = [np.full(count, value, np.int64) for value in (100, 64, 1, 4_000_000)]
        predictions = prediction_table(table["item_id"], ShardScores(logprobs, *numbers))
        run.store.create(layout.predictions_part(shard), to_arrow(scored_part(table, predictions)))
    if run.rule:
        decide_item_by_item(run, plan, run.rule)
        publishing.publish_scored(run, plan, quiet())
    write_answer_key(run, folder / "answers.jsonl")


def informed(gold: list[str]) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    sure = random.uniform(0.4, 1.0, len(gold))
    answers = (np.array([LABELS.index(name) for name in gold]) + (random.random(len(gold)) > sure)) % len(LABELS)
    shares = np.repeat(((1 - sure) / (len(LABELS) - 1))[:, None], len(LABELS), axis=1)
    shares[np.arange(len(gold)), answers] = sure
    return np.log(shares).astype(np.float32)


def quiet() -> ProgressReporter:
    return ProgressReporter(Console(file=io.StringIO()))


def write_answer_key(run: Run, path: Path) -> None:
    """What the service may answer."""
    with path.open("w") as stream:
        for shard in range(_plan(run).shards):
            for row in from_arrow(run.store.read(layout.plan_part(shard)), ["text", "gold_label"]).to_pylist():
                digest = hashlib.sha256(row["text"].encode()).hexdigest()
                stream.write(json.dumps({"text_sha256": digest, "answer": {"label": row["gold_label"]}}) + "\n")


def _plan(run: Run) -> planning.PlanSummary:
    return planning.PlanSummary.model_validate_json(run.store.read(layout.PLAN_COMPLETE))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class KilledAt:
    """`BatchProvider` that dies at a point of its life."""

    def __init__(self, provider: BatchProvider, point: str) -> None:
        self._provider, self._point = provider, point
        self.name, self.price_provider = provider.name, provider.price_provider
        self.settle_seconds, self.minimum_requests = provider.settle_seconds, provider.minimum_requests

    def check(self, request: Request) -> None:
        self._provider.check(request)

    def create(self, requests: Sequence[Request], token: str) -> str:
        if self._point == "before POST":
            die()
        batch_id = self._provider.create(requests, token)
        if self._point == "after POST before id":
            die()
        return batch_id

    def retrieve(self, batch_id: str) -> BatchStatus:
        return self._provider.retrieve(batch_id)

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        found = self._provider.list_since(created_after)
        if self._point == "while polling":
            die()
        return found

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        for number, row in enumerate(self._provider.results(batch_id)):
            if self._point == "while reading results" and number == 3:
                die()
            yield row

    def cancel(self, batch_id: str) -> None:
        self._provider.cancel(batch_id)

    def delete(self, batch_id: str) -> None:
        self._provider.delete(batch_id)


class KilledWhilePublishing(Store):
    """A store whose process dies just before a result part is written."""

    def create(self, key: str, data: bytes) -> bool:
        if key.startswith(layout.RESULTS):
            die()
        return super().create(key, data)


def escalate_once(root: str, url: str, point: str) -> None:
    """What one process does: escalate until done, or until it is killed at ``point``."""
    run = open_run(root)
    if point == "while publishing":
        run = Run(run.job, run.record, KilledWhilePublishing(root), run.question)
    client = ClaudeBatches(connect("key", url), "simulation", SETTLE_SECONDS)
    provider = PatientProvider(KilledAt(client, point), time.sleep, LONGEST_WAIT_SECONDS)
    escalate.EscalationLoop(run, _plan(run), provider, quiet()).run(wait=True)


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a fork; its exit code, or minus the signal that ended it. 3: the provider refused.

    The parent itself must not touch a store or a table: their libraries keep threads, which a fork loses.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except ProviderError:
            code = 3
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def check(root: str, billing: dict[str, dict[str, int]], items: int) -> dict[str, int]:
    """Compare the published rows with the plan and with the provider's own books."""
    rows = dataset.dataset(f"{root}/{layout.RESULTS}").to_table().to_pylist()
    seen = Counter(row["item_id"] for row in rows)
    billed: Counter[str] = Counter()
    for custom_id, usage in billing.items():
        billed[custom_id.rpartition("-")[2]] += billed_usd(usage)  # type: ignore[assignment]  # a Counter of Decimals
    return {
        "lost": items - len(seen),
        "repeated": len(rows) - len(seen),
        "twice": sum(usage["count"] - 1 for usage in billing.values()),
        "unbooked": sum(row["api_cost_usd"] not in (None, billed[row["item_id"]] or Decimal(0)) for row in rows),
        "unknowable": sum(row["api_cost_usd"] is None for row in rows),
        "review": sum(row["route"] == "review" for row in rows),
    }


def billed_usd(usage: dict[str, int]) -> Decimal:
    """What the service bills for the tokens of one request."""
    tokens = TokenUsage(
        usage["input_tokens"],
        usage["ephemeral_5m_input_tokens"],
        usage["ephemeral_1h_input_tokens"],
        usage["cache_read_input_tokens"],
        usage["output_tokens"],
    )
    cost = price_book().batch_cost(MODEL, tokens, datetime.now(UTC))
    assert cost is not None
    return cost
