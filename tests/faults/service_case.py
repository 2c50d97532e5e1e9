"""A prepared run of doubtful items and the service that answers it; every process of the run is one of its own.

They are made by a fork server: the libraries of tables and stores keep threads, so nothing here touches either in
pytest's own process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pyarrow.dataset as dataset

from flows.escalation.escalate import Escalated, EscalationLoop
from flows.run import open_run
from flows.stages.planning import PlanSummary
from pipelines.costs.price_book import TokenUsage, price_book
from pipelines.escalation.journal import Journal
from pipelines.escalation.patience import PatientProvider
from pipelines.escalation.provider import BatchProvider
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow
from tests.faults.escalation_case import LONGEST_WAIT_SECONDS, SETTLE_SECONDS, quiet
from tests.infra.message_batches_server import Server
from workers.providers.claude import ClaudeBatches, connect

P = ParamSpec("P")
T = TypeVar("T")
Row = dict[str, Any]
# What a process would import while it runs, seconds of it.
_IMPORTED_LATE = (
    *("transformers.tokenization_utils_tokenizers", "infra.local.message_batches.__main__"),
    *("numpy.ma", "rich._emoji_codes", "opentelemetry.baggage", "flows.deciding.asking", "flows.deciding.decisions"),
)
_PROCESSES = multiprocessing.get_context("forkserver")
# The last one freezes what the others imported: no fork looks through it again and again for garbage.
_PROCESSES.set_forkserver_preload([__name__, *_IMPORTED_LATE, "tests.frozen"])


def in_process(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call ``work`` in a process that does nothing else; what it returns or raises comes back."""
    with ProcessPoolExecutor(1, mp_context=_PROCESSES) as executor:
        return executor.submit(partial(work, *arguments, **named)).result()


class ForkedServer(Server):
    """The service as a fork that need not import anything, and is not asked to end."""

    def _start(self, *options: str) -> Any:
        receiver, sender = _PROCESSES.Pipe(duplex=False)
        self._fork = _PROCESSES.Process(target=_serve, args=(options, sender))
        self._fork.start()
        sender.close()
        with receiver, os.fdopen(os.dup(receiver.fileno())) as said:
            return json.loads(said.readline())

    def _end(self) -> None:
        self._fork.kill()
        self._fork.join()
        self._fork.close()


def _serve(options: Sequence[str], sender: Connection) -> None:
    from infra.local.message_batches.__main__ import main

    os.dup2(sender.fileno(), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.argv = ["message_batches", *options]
    sys.exit(main())


def client(url: str) -> ClaudeBatches:
    return ClaudeBatches(connect("key", url), "simulation", SETTLE_SECONDS)


def escalation(root: str, provider: BatchProvider) -> EscalationLoop:
    run = open_run(root)
    plan = PlanSummary.model_validate_json(run.store.read(layout.PLAN_COMPLETE))
    return EscalationLoop(run, plan, PatientProvider(provider, time.sleep, LONGEST_WAIT_SECONDS), quiet())


def escalate(root: str, url: str, *, wait: bool = True) -> Escalated:
    return escalation(root, client(url)).run(wait=wait)


def item_ids(root: str) -> list[str]:
    """In the plan's order; one shard."""
    ids: list[str] = from_arrow(Store(root).read(layout.plan_part(0)), ["item_id"])["item_id"].to_numpy().tolist()
    return ids


def cancel(root: str) -> None:
    Journal(Store(root)).cancel(datetime.now(UTC))


def rows_of(root: str) -> list[Row]:
    """Every published row, in the order of the documents."""
    rows = dataset.dataset(f"{root}/{layout.RESULTS}").to_table().to_pylist()
    return sorted(rows, key=lambda row: int(row["document_id"].removeprefix("d")))


def models_of(root: str) -> list[str]:
    """The model that each chunk was sent to."""
    journal = Journal(Store(root))
    return [journal.state(chunk).draft.model for chunk in range(journal.chunks())]


def answers_of(root: str) -> list[Row]:
    """What the journal holds of answers."""
    journal = Journal(Store(root))
    tables = [journal.answers(chunk) for chunk in range(journal.chunks())]
    return [row for table in tables if table is not None for row in table.to_pylist()]


class Case:
    """A prepared run, and the service that answers it."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server, self.root = folder, server, str(folder / "run")

    def escalate(self, *, wait: bool = True) -> Escalated:
        return in_process(escalate, self.root, self.server.url, wait=wait)

    def rows(self) -> list[Row]:
        rows = in_process(rows_of, self.root)
        ids = [row["item_id"] for row in rows]
        assert len(set(ids)) == len(ids), "an item has two rows"
        return rows

    def item_ids(self) -> list[str]:
        return in_process(item_ids, self.root)

    def creates(self, status: int = 200) -> int:
        log = self.server.control("log")["requests"]
        return sum(
            entry["method"] == "POST" and entry["path"] == "/v1/messages/batches" and entry["status"] == status
            for entry in log
        )

    def sizes(self) -> list[int]:
        """How many requests each batch that was taken had."""
        log = self.server.control("log")["requests"]
        return [
            entry["requests"]
            for entry in log
            if (entry["method"], entry["path"], entry["status"]) == ("POST", "/v1/messages/batches", 200)
        ]

    def billed(self) -> dict[str, Decimal]:
        """What the service bills for each item."""
        models, costs = in_process(models_of, self.root), dict[str, Decimal]()
        for custom_id, usage in self.server.control("billing")["custom_ids"].items():
            _, chunk, item_id = custom_id.split("-")
            assert usage["count"] == 1, "a request was answered twice"
            tokens = TokenUsage(
                usage["input_tokens"],
                usage["ephemeral_5m_input_tokens"],
                usage["ephemeral_1h_input_tokens"],
                usage["cache_read_input_tokens"],
                usage["output_tokens"],
            )
            cost = price_book().batch_cost(models[int(chunk)], tokens, datetime.now(UTC))
            assert cost is not None
            costs[item_id] = costs.get(item_id, Decimal(0)) + cost
        return costs

    def check_costs(self) -> None:
        """Every row says what the service bills for its item, and what it does not bill is nothing."""
        billed = self.billed()
        assert {row["item_id"]: row["api_cost_usd"] for row in self.rows() if row["api_cost_usd"]} == billed


Prepare = Callable[..., Case]


def overtake(run: Case, work: Callable[[Path, str, str], T], by: Callable[[], bool]) -> T:
    """Call ``work(folder, root, url)`` in a process, and ``by`` here while that process is in `meanwhile`."""
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(in_process, work, run.folder, run.root, run.server.url)
        try:
            wait_for(run.folder / "is-waiting")
            assert by()
        finally:
            (run.folder / "goes-on").touch()
        return working.result()


def meanwhile(folder: Path) -> None:
    """Wait, the first time that a process comes here, until `overtake` has done something else."""
    if not (folder / "goes-on").exists():
        (folder / "is-waiting").touch()
        wait_for(folder / "goes-on")


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"there is no {path.name}"
        time.sleep(0.01)


def of_route(rows: list[Row], route: str) -> list[Row]:
    return [row for row in rows if row["route"] == route]


def routes(rows: list[Row]) -> dict[str, int]:
    return {route: len(of_route(rows, route)) for route in sorted({row["route"] for row in rows})}
