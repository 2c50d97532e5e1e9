"""Budget, tiers, cancelling, expiry, the account and the policy: real processes, the real SDK, a local service.

Every process of a run is one of its own, made by a fork server: the libraries of tables and stores keep threads, so
nothing here touches either in pytest's own process.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pyarrow.dataset as dataset
import pytest

from flows.escalate import Escalated, Escalation, Stop
from flows.run import open_run
from flows.stages import PlanSummary
from pipelines.costs.price_book import TokenUsage, price_book
from pipelines.errors import ProviderError
from pipelines.escalation.journal import Journal
from pipelines.escalation.patience import PatientProvider
from pipelines.escalation.provider import AccountError, BatchProvider, Request
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow
from tests.faults.escalation_case import LABELS, MODEL, SETTLE_SECONDS, KilledAt, die, prepare, quiet
from tests.infra.message_batches_server import Server
from workers.claude import ClaudeBatches, connect

P = ParamSpec("P")
T = TypeVar("T")
Row = dict[str, Any]
SECOND_MODEL = "claude-sonnet-4-6"
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


def in_process(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call ``work`` in a process that does nothing else; what it returns or raises comes back."""
    with ProcessPoolExecutor(1, mp_context=_PROCESSES) as executor:
        return executor.submit(partial(work, *arguments, **named)).result()


# What the processes do


class Watched(KilledAt):
    """A provider before which, at every create, what is spent and held is added up anew from the journal."""

    def __init__(self, provider: BatchProvider, root: str, cap_usd: Decimal) -> None:
        super().__init__(provider, "never")
        self._root, self._cap_usd = root, cap_usd

    def create(self, requests: Sequence[Request], token: str) -> str:
        journal, committed = Journal(Store(self._root)), Decimal(0)
        for chunk in range(journal.chunks()):
            answers, reserved = journal.answers(chunk), journal.state(chunk).draft.reserved_cost_usd
            assert reserved is not None
            costs = [] if answers is None else answers["api_cost_usd"].to_pylist()
            assert None not in costs
            committed += reserved if answers is None else sum(filter(None, costs), Decimal(0))
        assert committed <= self._cap_usd
        return super().create(requests, token)


class KilledAtDelete(KilledAt):
    """A provider whose caller dies just before a batch is deleted."""

    def delete(self, batch_id: str) -> None:
        die()


class Overtaken(KilledAt):
    """A provider whose caller is overtaken, with one batch sent, by another process that does all the rest."""

    def __init__(self, provider: BatchProvider, root: str, url: str) -> None:
        super().__init__(provider, "never")
        self._root, self._url = root, url

    def create(self, requests: Sequence[Request], token: str) -> str:
        batch_id = super().create(requests, token)
        in_process(escalate, self._root, self._url)
        return batch_id


def escalation(root: str, provider: BatchProvider) -> Escalation:
    run = open_run(root)
    plan = PlanSummary.model_validate_json(run.store.read(layout.PLAN_COMPLETE))
    return Escalation(run, plan, PatientProvider(provider, time.sleep, longest_wait_seconds=0.05), quiet())


def client(url: str) -> ClaudeBatches:
    return ClaudeBatches(connect("key", url), "simulation", SETTLE_SECONDS)


def escalate(root: str, url: str, *, wait: bool = True) -> Escalated:
    return escalation(root, client(url)).run(wait=wait)


def escalate_under(cap_usd: Decimal, root: str, url: str) -> Escalated:
    return escalation(root, Watched(client(url), root, cap_usd)).run(wait=True)


def escalate_and_die_at_delete(root: str, url: str) -> None:
    escalation(root, KilledAtDelete(client(url), "never")).run(wait=True)


def escalate_and_die_before_collecting(root: str, url: str) -> None:
    Journal.collect = lambda *_: die()  # type: ignore[method-assign]  # this process does nothing else
    escalate(root, url)


def escalate_overtaken(root: str, url: str) -> None:
    escalation(root, Overtaken(client(url), root, url)).run(wait=True)


def cancel(root: str) -> None:
    Journal(Store(root)).cancel(datetime.now(UTC))


def item_ids(root: str) -> list[str]:
    """In the plan's order; one shard."""
    ids: list[str] = from_arrow(Store(root).read(layout.plan_part(0)), ["item_id"])["item_id"].to_numpy().tolist()
    return ids


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


# What the tests see


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


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Prepare]:
    """Prepare a run of ``items`` doubtful documents; ``options`` are the service's, the rest is the job's."""
    servers: list[Server] = []

    def make(items: int, *options: str, escalation: Row | None = None, **job: Any) -> Case:
        given = {"model": MODEL, "provider": "simulation", "chunk_items": 10} | (escalation or {})
        in_process(prepare, tmp_path, items, escalation=given, **job)
        key = ("--answer-key", str(tmp_path / "answers.jsonl"), "--error-rate", "0")
        servers.append(Server(tmp_path / "service", *key, *options))
        return Case(tmp_path, servers[0])

    yield make
    for server in servers:
        server.__exit__()


def of_route(rows: list[Row], route: str) -> list[Row]:
    return [row for row in rows if row["route"] == route]


def routes(rows: list[Row]) -> dict[str, int]:
    return {route: len(of_route(rows, route)) for route in sorted({row["route"] for row in rows})}


def test_every_item_is_answered_by_the_gold_label_and_billed_once(case: Prepare) -> None:
    run = case(23)
    assert run.escalate() == Escalated(is_done=True)
    rows = run.rows()
    assert [row["answer"] for row in rows] == [LABELS[number % 3] for number in range(23)]
    assert {row["model"] for row in rows} == {"claude-haiku-4-5-20251001 (simulation)"}
    assert run.creates() == 3
    run.check_costs()


def test_a_batch_that_is_too_large_is_halved_until_it_fits(case: Prepare) -> None:
    """The service takes two requests at a time, and says so by refusing more."""
    run = case(10, "--max-body-bytes", "2500", escalation={"chunk_items": 8})
    assert run.escalate() == Escalated(is_done=True)
    assert routes(run.rows()) == {"escalated": 10}
    assert (run.creates(413), run.creates(200)) == (2, 5)
    run.check_costs()


def test_a_request_that_is_too_large_alone_is_held_for_review(case: Prepare) -> None:
    run = case(3, "--max-body-bytes", "500")
    assert run.escalate() == Escalated(is_done=True)
    rows = run.rows()
    assert routes(rows) == {"review": 3}
    assert {row["reason"] for row in rows} == {"the provider refused the request as too large (413)"}
    assert {row["api_cost_usd"] for row in rows} == {Decimal(0)}


def test_a_process_that_dies_while_a_chunk_is_set_aside_leaves_the_rest_to_the_next(case: Prepare) -> None:
    run = case(8, "--max-body-bytes", "2500", escalation={"chunk_items": 8})
    with pytest.raises(BrokenProcessPool):
        in_process(escalate_and_die_before_collecting, run.root, run.server.url)
    assert run.escalate() == Escalated(is_done=True)
    assert routes(run.rows()) == {"escalated": 8}
    run.check_costs()


# Budget


def test_only_what_the_budget_covers_is_sent_and_the_rest_is_held_for_review(case: Prepare) -> None:
    budget = Decimal("0.0020")
    run = case(40, escalation={"max_output_tokens": 16}, budget_usd=str(budget))
    ended = in_process(escalate_under, budget, run.root, run.server.url)
    assert ended == Escalated(is_done=True, stop=Stop.BUDGET)
    rows = run.rows()
    answered, held = of_route(rows, "escalated"), of_route(rows, "review")
    assert len(answered) + len(held) == 40
    assert len(answered) >= 5
    assert len(held) >= 5
    assert rows == answered + held  # in the plan's order
    for row in held:
        assert row["reason"].startswith("budget")
        assert (row["answer"], row["api_cost_usd"], row["api_input_tokens"]) == (None, 0, None)
    run.check_costs()
    assert sum(run.billed().values()) <= budget
    assert set(run.billed()) == {row["item_id"] for row in answered}


def test_what_a_failed_attempt_cost_counts_against_the_budget_and_stays_in_its_row(case: Prepare) -> None:
    budget = Decimal("0.0005")  # more than the worst case of one request, less than that and what one really costs
    run = case(1, escalation={"max_output_tokens": 16}, budget_usd=str(budget))
    run.server.fault("process", "invalid_json", times=None)
    assert in_process(escalate_under, budget, run.root, run.server.url) == Escalated(is_done=True, stop=Stop.BUDGET)
    (row,) = run.rows()
    assert (row["route"], row["reason"].startswith("budget")) == ("review", True)
    assert row["api_cost_usd"] > 0
    assert row["api_input_tokens"] > 0
    assert row["model"] == "claude-haiku-4-5-20251001 (simulation)"
    run.check_costs()
    assert sum(run.billed().values()) <= budget


def test_a_row_that_the_provider_lost_is_not_forgotten_by_the_budget(case: Prepare) -> None:
    """Its cost is unknown; what was held for its batch stays held, and with it the cap."""
    budget = Decimal("0.0020")
    run = case(12, escalation={"max_output_tokens": 16}, budget_usd=str(budget))
    run.server.fault("process", "missing_row", times=None)
    assert run.escalate() == Escalated(is_done=True, stop=Stop.BUDGET)
    rows = run.rows()
    assert routes(rows) == {"review": 12}
    assert None in {row["api_cost_usd"] for row in rows}
    assert sum(run.billed().values()) <= budget


def test_what_is_left_of_a_budget_is_not_spent_in_ever_smaller_batches(case: Prepare) -> None:
    """Chunks of 40: once less than two requests can be held against it, the rest of the budget is left alone."""
    run = case(60, escalation={"max_output_tokens": 16, "chunk_items": 40}, budget_usd="0.0030")
    assert run.escalate() == Escalated(is_done=True, stop=Stop.BUDGET)
    assert min(run.sizes()) >= 2
    assert len(of_route(run.rows(), "escalated")) >= 5


def test_a_budget_of_nothing_sends_nothing(case: Prepare) -> None:
    run = case(5, budget_usd="0")
    assert run.escalate() == Escalated(is_done=True, stop=Stop.BUDGET)
    assert routes(run.rows()) == {"review": 5}
    assert run.creates() == 0


def test_a_budget_that_is_large_enough_stops_nothing(case: Prepare) -> None:
    run = case(15, budget_usd="5")
    assert in_process(escalate_under, Decimal(5), run.root, run.server.url) == Escalated(is_done=True)
    assert routes(run.rows()) == {"escalated": 15}


# Tiers


def tiers(*pass_on: str) -> Row:
    return {"model": None, "tiers": [{"model": MODEL, "pass_on": list(pass_on)}, {"model": SECOND_MODEL}]}


def test_what_the_first_model_leaves_open_the_second_answers_and_both_are_paid(case: Prepare) -> None:
    run = case(6, escalation=tiers())
    refused, unknown, invalid, *rest = run.item_ids()
    run.server.fault("process", "refusal", match=refused, times=1)
    run.server.fault("process", "unknown_label", match=unknown, times=3)
    run.server.fault("process", "errored_invalid_request", match=invalid, times=1)
    assert run.escalate() == Escalated(is_done=True)
    rows = {row["item_id"]: row for row in run.rows()}
    assert [row["answer"] for row in rows.values()] == [LABELS[number % 3] for number in range(6)]
    for item_id in (refused, unknown, invalid):
        assert rows[item_id]["model"] == f"{SECOND_MODEL} (simulation)"
        assert rows[item_id]["reason"] is None
    for item_id in rest:
        assert rows[item_id]["model"] == "claude-haiku-4-5-20251001 (simulation)"
        assert rows[refused]["api_cost_usd"] > rows[item_id]["api_cost_usd"]
        assert rows[refused]["api_input_tokens"] > rows[item_id]["api_input_tokens"]
    run.check_costs()


def test_a_label_that_is_passed_on_goes_to_the_second_model(case: Prepare) -> None:
    run = case(9, escalation=tiers("outage"))
    assert run.escalate() == Escalated(is_done=True)
    rows = run.rows()
    assert [row["answer"] for row in rows] == [LABELS[number % 3] for number in range(9)]
    assert {row["answer"]: row["model"].removesuffix(" (simulation)") for row in rows} == {
        "billing": "claude-haiku-4-5-20251001",
        "outage": SECOND_MODEL,
        "delivery": "claude-haiku-4-5-20251001",
    }
    run.check_costs()


def test_what_no_model_answers_is_held_for_review_with_its_whole_cost(case: Prepare) -> None:
    run = case(4, escalation=tiers())
    refused, *_ = run.item_ids()
    run.server.fault("process", "refusal", match=refused, times=None)
    assert run.escalate() == Escalated(is_done=True)
    (row,) = of_route(run.rows(), "review")
    assert (row["item_id"], row["reason"]) == (refused, "Claude refused to answer")
    run.check_costs()


# Cancelling


def test_a_cancelled_run_keeps_what_was_answered_and_sends_nothing_more(case: Prepare) -> None:
    run = case(20, "--processing-seconds", "3", "--cancel-seconds", "0.3")
    assert run.escalate(wait=False) == Escalated(is_done=False)
    time.sleep(1.2)
    in_process(cancel, run.root)
    assert run.escalate() == Escalated(is_done=True, stop=Stop.CANCELLED)
    rows = run.rows()
    answered, held = of_route(rows, "escalated"), of_route(rows, "review")
    assert len(answered) + len(held) == 20
    assert answered
    assert held
    assert {row["reason"] for row in held} == {"the run was cancelled before it was answered"}
    assert run.creates() == 2
    run.check_costs()


def test_a_cancelled_run_does_not_send_what_was_refused_before(case: Prepare) -> None:
    run = case(5)
    run.server.fault("create", "402", times=1)
    with pytest.raises(AccountError):
        run.escalate()
    in_process(cancel, run.root)
    assert run.escalate() == Escalated(is_done=True, stop=Stop.CANCELLED)
    assert routes(run.rows()) == {"review": 5}
    assert (run.creates(), run.creates(402)) == (0, 1)


def test_a_batch_in_doubt_is_found_and_taken_in_even_when_cancelled(case: Prepare) -> None:
    run = case(5)
    run.server.fault("create", "accept_then_drop", times=1)
    assert run.escalate(wait=False) == Escalated(is_done=False)
    in_process(cancel, run.root)
    assert run.escalate() == Escalated(is_done=True, stop=Stop.CANCELLED)
    assert routes(run.rows()) == {"escalated": 5}
    run.check_costs()


# Expiry


def test_expired_items_are_asked_again_and_given_up_in_the_end(case: Prepare) -> None:
    """A batch of two days: half of it is done when it expires, of the rest again half, and so on, three times."""
    run = case(8, "--processing-seconds", str(2 * 86_400))
    for _ in range(3):
        assert run.escalate(wait=False) == Escalated(is_done=False)
        run.server.control("clock", {"advance_seconds": 25 * 3_600})
    assert run.escalate(wait=False) == Escalated(is_done=True)
    rows = run.rows()
    assert routes(rows) == {"escalated": 7, "review": 1}
    assert of_route(rows, "review")[0]["reason"] == "the request expired before Claude answered (3 times)"
    assert run.creates() == 3
    run.check_costs()


# Waiting, and other processes


def test_one_process_sends_and_a_later_one_collects(case: Prepare) -> None:
    run = case(15, "--processing-seconds", "1")
    assert run.escalate(wait=False) == Escalated(is_done=False)
    assert of_route(run.rows(), "escalated") == []
    time.sleep(1.2)
    assert run.escalate(wait=False) == Escalated(is_done=True)
    assert routes(run.rows()) == {"escalated": 15}
    assert run.escalate(wait=False) == Escalated(is_done=True)  # and once more changes nothing
    assert run.creates() == 2
    run.check_costs()


def test_of_two_processes_that_send_one_stands_back_and_nothing_is_paid_twice(case: Prepare) -> None:
    run = case(15)
    with pytest.raises(ProviderError, match="another process sends the doubtful items of this run"):
        in_process(escalate_overtaken, run.root, run.server.url)
    assert run.escalate() == Escalated(is_done=True)
    assert run.creates() == 2
    run.check_costs()


# The account


@pytest.mark.parametrize(("at", "kind"), [("process", "credit_balance"), ("create", "402"), ("list", "403")])
def test_an_account_that_may_not_spend_pauses_the_run_and_loses_nothing(case: Prepare, at: str, kind: str) -> None:
    run = case(6)
    run.server.fault(at, kind, times=1)
    with pytest.raises(AccountError, match="run the same command again"):
        run.escalate()
    assert of_route(run.rows(), "review") == []
    assert run.escalate() == Escalated(is_done=True)
    assert routes(run.rows()) == {"escalated": 6}
    run.check_costs()


# The policy, and what is kept where


def contains(folder: Path, words: bytes) -> bool:
    """Whether any file below the folder holds the words as they are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return any(words in path.read_bytes() for path in files)


def text_of(number: int) -> str:
    return f"Document number {number}:"


def test_withheld_documents_never_reach_the_service(case: Prepare) -> None:
    run = case(12, policy={"never_escalate": "label == 'billing'"})
    assert run.escalate() == Escalated(is_done=True)
    rows = run.rows()
    assert routes(rows) == {"escalated": 8, "withheld": 4}
    assert {row["gold_label"] for row in of_route(rows, "withheld")} == {"billing"}
    with sqlite3.connect(run.folder / "service" / "state.sqlite") as db:
        sent = "".join(params for (params,) in db.execute("SELECT params FROM requests"))
    db.close()
    for number in range(12):
        is_withheld = number % 3 == 0
        assert (text_of(number) in sent) is not is_withheld
        assert contains(run.folder / "service", text_of(number).encode()) is not is_withheld


def test_the_journal_holds_ids_and_no_text(case: Prepare) -> None:
    run = case(12)
    run.server.fault("process", "invalid_json", times=1)
    assert run.escalate() == Escalated(is_done=True)
    journal = run.folder / "run" / layout.ESCALATIONS
    assert contains(journal, run.item_ids()[0].encode())
    assert not contains(journal, b"Document number")
    held = in_process(answers_of, run.root)  # compressed on disk
    assert len(held) == 13
    assert "Document number" not in str(held)


def test_without_a_wish_the_providers_copy_stays(case: Prepare) -> None:
    run = case(12)
    run.escalate()
    assert len(run.server.client.messages.batches.list().data) == 2


def deletes(run: Case) -> int:
    return sum(entry["method"] == "DELETE" for entry in run.server.control("log")["requests"])


def test_the_providers_copy_is_deleted_once_collected(case: Prepare) -> None:
    run = case(12, escalation={"delete_after_collecting": True})
    assert run.escalate() == Escalated(is_done=True)
    assert run.server.client.messages.batches.list().data == []
    assert routes(run.rows()) == {"escalated": 12}
    assert deletes(run) == 2
    run.check_costs()


def test_a_crash_before_deleting_leaves_the_deleting_to_the_next_process(case: Prepare) -> None:
    run = case(5, escalation={"delete_after_collecting": True})
    with pytest.raises(BrokenProcessPool):
        in_process(escalate_and_die_at_delete, run.root, run.server.url)
    assert len(run.server.client.messages.batches.list().data) == 1
    for _ in range(2):
        assert run.escalate() == Escalated(is_done=True)
    assert deletes(run) == 1
    assert routes(run.rows()) == {"escalated": 5}
