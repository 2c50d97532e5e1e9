"""Budget, tiers, cancelling, expiry, the account and the policy: real processes, the real SDK, a local service."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from decimal import Decimal
from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from flows.escalation.escalate import Escalated
from flows.escalation.requests import RequestBuilder
from pipelines.errors import ProviderError
from pipelines.escalation.journal import ChunkState, Journal
from pipelines.escalation.provider import AccountError, BatchProvider, Request
from pipelines.routes import Stop
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.result_rows import result_rows
from tests.faults.escalation_case import LABELS, MODEL, KilledAt, die
from tests.faults.service_case import (
    Prepare,
    Row,
    cancel,
    client,
    escalate,
    escalation,
    in_process,
    item_ids,
    of_route,
    routes,
)

pytestmark = pytest.mark.processes

SECOND_MODEL = "claude-sonnet-4-6"


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


class Overtaken(KilledAt):
    """A provider whose caller is overtaken, with one batch sent, by another process that does all the rest."""

    def __init__(self, provider: BatchProvider, folder: Path) -> None:
        super().__init__(provider, "never")
        self._folder = folder

    def create(self, requests: Sequence[Request], token: str) -> str:
        batch_id = super().create(requests, token)
        (self._folder / "is-sent").touch()
        wait_for(self._folder / "is-overtaken")
        return batch_id


def escalate_under(cap_usd: Decimal, root: str, url: str) -> Escalated:
    return escalation(root, Watched(client(url), root, cap_usd)).run(wait=True)


def escalate_and_die_before_collecting(root: str, url: str) -> None:
    Journal.collect = lambda *_: die()  # type: ignore[method-assign]  # this process does nothing else
    escalate(root, url)


class CancelledMeanwhile(KilledAt):
    """A provider at one of whose calls the run is cancelled and brought to its end by another process."""

    def __init__(self, url: str, at: str, cancel_and_close: Callable[[], object]) -> None:
        super().__init__(client(url), "never")
        self._at, self._cancel_and_close = at, cancel_and_close

    def check(self, request: Request) -> None:
        super().check(request)
        if self._at == "check":  # after the look, before the intent
            self._cancel_and_close()

    def create(self, requests: Sequence[Request], token: str) -> str:
        if self._at == "create":
            self._cancel_and_close()
        return super().create(requests, token)


def cancel_and_close(root: str, url: str) -> None:
    in_process(cancel, root)
    assert in_process(escalate, root, url).stop is Stop.CANCELLED


def escalate_cancelled_after_the_look(root: str, url: str) -> Escalated:
    provider = CancelledMeanwhile(url, "check", lambda: cancel_and_close(root, url))
    return escalation(root, provider).run(wait=True)


def escalate_cancelled_while_sending(root: str, url: str) -> Escalated:
    provider = CancelledMeanwhile(url, "create", lambda: in_process(cancel, root))
    return escalation(root, provider).run(wait=True)


def resend_cancelled_after_the_look(root: str, url: str) -> Escalated:
    rebuild = RequestBuilder.rebuild

    def overtaken(self: RequestBuilder, state: ChunkState) -> list[Request]:
        cancel_and_close(root, url)
        return rebuild(self, state)

    RequestBuilder.rebuild = overtaken  # type: ignore[method-assign]  # this process does nothing else
    return escalation(root, client(url)).run(wait=True)


def ask_again_about_all(root: str, url: str) -> tuple[Escalated, int]:
    """What a process does whose ledger has forgotten all answers: how it ends, and how many batches it sends."""
    again = escalation(root, client(url))
    again.replay()
    for item_id in list(again.ledger.settled_labels()):
        again.ledger._items.pop(item_id)
    before = Journal(Store(root)).chunks()
    ended = again.ask(lambda _shard: item_ids(root), wait=True)
    return ended, Journal(Store(root)).chunks() - before


def escalate_overtaken(folder: Path, root: str, url: str) -> None:
    escalation(root, Overtaken(client(url), folder)).run(wait=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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


def test_every_kind_of_part_is_written_as_arrow_where_the_job_asks_for_it(case: Prepare) -> None:
    limits = {"max_output_tokens": 16, "chunk_items": 40}
    run = case(60, escalation=limits, budget_usd="0.0030", results={"format": "arrow"})
    assert run.escalate() == Escalated(is_done=True, stop=Stop.BUDGET)
    parts = sorted(path.name for path in Path(run.root, layout.RESULTS).iterdir())
    assert parts[0] == "part-00000-escalated.arrow"
    assert {"part-00000-scored.arrow", "part-00000-unsent.arrow"} < set(parts)
    assert {Path(name).suffix for name in parts} == {".arrow"}
    rows = dataset.dataset(Path(run.root, layout.RESULTS), format="ipc").to_table().to_pylist()
    assert len({row["item_id"] for row in rows}) == 60
    assert rows == list(result_rows(run.root, list(rows[0])).rows())
    assert {row["route"] for row in rows} == {"escalated", "review"}


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
    run = case(20, "--processing-seconds", "3000", "--cancel-seconds", "0.1")
    assert run.escalate(wait=False) == Escalated(is_done=False)
    run.server.control("clock", {"advance_seconds": 1200})
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


def test_a_cancel_between_a_look_and_its_intent_leaves_nothing_to_send(case: Prepare) -> None:
    run = case(20)
    assert in_process(escalate_cancelled_after_the_look, run.root, run.server.url) == Escalated(True, Stop.CANCELLED)
    assert routes(run.rows()) == {"review": 20}
    assert run.creates() == 0


def test_a_cancel_between_a_look_and_a_second_try_leaves_nothing_to_send(case: Prepare) -> None:
    run = case(5)
    run.server.fault("create", "402", times=1)
    with pytest.raises(AccountError):
        run.escalate()
    assert in_process(resend_cancelled_after_the_look, run.root, run.server.url) == Escalated(True, Stop.CANCELLED)
    assert routes(run.rows()) == {"review": 5}
    assert run.creates() == 0


def test_a_cancel_while_a_batch_is_sent_waits_for_it_and_books_it(case: Prepare) -> None:
    run = case(20)
    stopped = in_process(escalate_cancelled_while_sending, run.root, run.server.url)
    assert stopped == Escalated(True, Stop.CANCELLED)
    assert routes(run.rows()) == {"escalated": 10, "review": 10}
    assert run.creates() == 1
    run.check_costs()


def test_nothing_is_sent_or_published_for_a_run_whose_books_are_closed(case: Prepare) -> None:
    run = case(6)
    run.server.fault("process", "refusal", times=None)
    assert run.escalate() == Escalated(is_done=True)
    assert in_process(ask_again_about_all, run.root, run.server.url) == (Escalated(is_done=True), 0)
    assert run.creates() == 1
    assert routes(run.rows()) == {"review": 6}


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
    run = case(15, "--processing-seconds", "1000")
    assert run.escalate(wait=False) == Escalated(is_done=False)
    assert of_route(run.rows(), "escalated") == []
    run.server.control("clock", {"advance_seconds": 1200})
    assert run.escalate(wait=False) == Escalated(is_done=True)
    assert routes(run.rows()) == {"escalated": 15}
    assert run.escalate(wait=False) == Escalated(is_done=True)  # and once more changes nothing
    assert run.creates() == 2
    run.check_costs()


def test_of_two_processes_that_send_one_stands_back_and_nothing_is_paid_twice(case: Prepare) -> None:
    run = case(15)
    with ThreadPoolExecutor(1) as thread:
        overtaken = thread.submit(in_process, escalate_overtaken, run.folder, run.root, run.server.url)
        wait_for(run.folder / "is-sent")
        assert run.escalate() == Escalated(is_done=True)
        (run.folder / "is-overtaken").touch()
        with pytest.raises(ProviderError, match="another process sends the doubtful items of this run"):
            overtaken.result()
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
