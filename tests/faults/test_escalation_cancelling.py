"""A cancel at any moment: what is answered is kept, nothing more is sent. Real processes, SDK and service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from flows.escalation.escalate import Escalated
from flows.escalation.requests import RequestBuilder
from pipelines.escalation.journal import ChunkState, Journal
from pipelines.escalation.provider import AccountError, Request
from pipelines.routes import Stop
from pipelines.store.objects import Store
from tests.faults.escalation_case import KilledAt
from tests.faults.service_case import (
    Case,
    Prepare,
    cancel,
    client,
    escalation,
    in_process,
    item_ids,
    meanwhile,
    of_route,
    overtake,
    routes,
)

pytestmark = pytest.mark.processes


class CancelledMeanwhile(KilledAt):
    """A provider at one of whose calls the run is cancelled by another process."""

    def __init__(self, url: str, at: str, folder: Path) -> None:
        super().__init__(client(url), "never")
        self._at, self._folder = at, folder

    def check(self, request: Request) -> None:
        super().check(request)
        if self._at == "check":  # after the look, before the intent
            meanwhile(self._folder)

    def create(self, requests: Sequence[Request], token: str) -> str:
        if self._at == "create":
            meanwhile(self._folder)
        return super().create(requests, token)


def cancel_and_close(run: Case) -> bool:
    in_process(cancel, run.root)
    return run.escalate().stop is Stop.CANCELLED


def escalate_cancelled_after_the_look(folder: Path, root: str, url: str) -> Escalated:
    return escalation(root, CancelledMeanwhile(url, "check", folder)).run(wait=True)


def escalate_cancelled_while_sending(folder: Path, root: str, url: str) -> Escalated:
    return escalation(root, CancelledMeanwhile(url, "create", folder)).run(wait=True)


def resend_cancelled_after_the_look(folder: Path, root: str, url: str) -> Escalated:
    rebuild = RequestBuilder.rebuild

    def overtaken(self: RequestBuilder, state: ChunkState) -> list[Request]:
        meanwhile(folder)
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
    ended = overtake(run, escalate_cancelled_after_the_look, by=lambda: cancel_and_close(run))
    assert ended == Escalated(True, Stop.CANCELLED)
    assert routes(run.rows()) == {"review": 20}
    assert run.creates() == 0


def test_a_cancel_between_a_look_and_a_second_try_leaves_nothing_to_send(case: Prepare) -> None:
    run = case(5)
    run.server.fault("create", "402", times=1)
    with pytest.raises(AccountError):
        run.escalate()
    ended = overtake(run, resend_cancelled_after_the_look, by=lambda: cancel_and_close(run))
    assert ended == Escalated(True, Stop.CANCELLED)
    assert routes(run.rows()) == {"review": 5}
    assert run.creates() == 0


def test_a_cancel_while_a_batch_is_sent_waits_for_it_and_books_it(case: Prepare) -> None:
    run = case(20)
    ended = overtake(run, escalate_cancelled_while_sending, by=lambda: in_process(cancel, run.root) is None)
    assert ended == Escalated(True, Stop.CANCELLED)
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
