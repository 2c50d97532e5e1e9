"""What leaves, what stays, and what is deleted: policy, journal, the provider's copy."""

from __future__ import annotations

import sqlite3
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from flows.escalation.escalate import Escalated
from pipelines.store import layout
from tests.faults.escalation_case import KilledAt, die
from tests.faults.service_case import Case, Prepare, answers_of, client, escalation, in_process, of_route, routes

pytestmark = pytest.mark.processes


class KilledAtDelete(KilledAt):
    """A provider whose caller dies just before a batch is deleted."""

    def delete(self, batch_id: str) -> None:
        die()


def escalate_and_die_at_delete(root: str, url: str) -> None:
    escalation(root, KilledAtDelete(client(url), "never")).run(wait=True)


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
