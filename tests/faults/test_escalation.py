"""Answers, tiers, expiry, the account, processes beside each other: real processes, the real SDK, a local service."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from decimal import Decimal
from pathlib import Path

import pytest

from flows.escalation.escalate import Escalated
from pipelines.errors import ProviderError
from pipelines.escalation.journal import Journal
from pipelines.escalation.provider import AccountError, BatchProvider, Request
from tests.faults.escalation_case import LABELS, MODEL, KilledAt, die
from tests.faults.service_case import (
    Prepare,
    Row,
    client,
    escalate,
    escalation,
    in_process,
    meanwhile,
    of_route,
    overtake,
    routes,
)

pytestmark = pytest.mark.processes

SECOND_MODEL = "claude-sonnet-4-6"


class Overtaken(KilledAt):
    """A provider whose caller is overtaken, with one batch sent, by another process that does all the rest."""

    def __init__(self, provider: BatchProvider, folder: Path) -> None:
        super().__init__(provider, "never")
        self._folder = folder

    def create(self, requests: Sequence[Request], token: str) -> str:
        batch_id = super().create(requests, token)
        meanwhile(self._folder)
        return batch_id


def escalate_overtaken(folder: Path, root: str, url: str) -> None:
    escalation(root, Overtaken(client(url), folder)).run(wait=True)


def escalate_and_die_before_collecting(root: str, url: str) -> None:
    Journal.collect = lambda *_: die()  # type: ignore[method-assign]  # this process does nothing else
    escalate(root, url)


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
    with pytest.raises(ProviderError, match="another process sends the doubtful items of this run"):
        overtake(run, escalate_overtaken, by=lambda: run.escalate() == Escalated(is_done=True))
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
