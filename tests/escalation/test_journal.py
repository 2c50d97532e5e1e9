"""The journal: what is known of a message batch at every moment, whoever asks."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.escalation.journal import ChunkState, Intent, Journal, Submitted
from pipelines.store.objects import Store
from pipelines.store.schemas import COLLECTED
from tests.escalation.fakes import draft_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ITEMS = ("itm_1", "itm_2")
DRAFT = draft_of(ITEMS)
SENT = Submitted(batch_id="msgbatch_1", submitted_at=NOW)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def journal(store: Store) -> Journal:
    return Journal(store)


def intend(journal: Journal, chunk: int = 0) -> Intent:
    intent = journal.intend(chunk, DRAFT, "sha", NOW)
    assert intent
    return intent


def test_nothing_is_known_at_first(journal: Journal) -> None:
    assert journal.chunks() == 0
    assert journal.batch_ids() == set()
    assert journal.answers(0) is None
    assert journal.closed_at(0) is None
    assert not journal.is_deleted(0)


def test_an_intent_is_in_doubt_until_its_outcome_is_written(journal: Journal) -> None:
    intent = intend(journal)
    assert (intent.chunk, intent.send, intent.item_ids, intent.created_at) == (0, 0, ITEMS, NOW)
    assert journal.state(0) == ChunkState(0, DRAFT, intent, None, is_collected=False)
    journal.submit(intent, SENT)
    assert journal.state(0) == ChunkState(0, DRAFT, intent, SENT, is_collected=False)
    assert journal.batch_ids() == {"msgbatch_1"}


def test_an_abandoned_send_counts_as_none_and_the_next_has_its_own_number(journal: Journal) -> None:
    first = intend(journal)
    journal.abandon(first, "refused")
    assert journal.state(0) == ChunkState(0, DRAFT, None, None, is_collected=False)
    second = intend(journal)
    assert second.send == 1
    assert second.token != first.token
    journal.submit(second, SENT)
    assert journal.state(0) == ChunkState(0, DRAFT, second, SENT, is_collected=False)


def answers(*item_ids: str) -> pa.Table:
    rows = [{"item_id": item_id, "ending": "again", "settled_at": NOW} for item_id in item_ids]
    return pa.Table.from_pylist(rows, schema=COLLECTED)


def test_a_collected_chunk_says_so(journal: Journal) -> None:
    intent = intend(journal)
    journal.submit(intent, SENT)
    journal.collect(0, answers(*ITEMS))
    assert journal.state(0) == ChunkState(0, DRAFT, intent, SENT, is_collected=True)


def test_the_first_answers_stand(journal: Journal) -> None:
    intend(journal)
    journal.collect(0, answers("itm_1"))
    journal.collect(0, answers("itm_2"))
    taken = journal.answers(0)
    assert taken is not None
    assert taken.equals(answers("itm_1"))


def test_cancelled_and_deleted_stay_so(journal: Journal) -> None:
    intend(journal)
    for _ in range(2):
        journal.cancel(NOW)
        journal.delete(0, NOW)
    closed = journal.closed_at(1)
    assert closed
    assert (closed.stop, closed.chunk) == ("cancelled", 1)
    assert journal.is_deleted(0)
    assert not journal.is_deleted(1)
    assert journal.chunks() == 1


def test_after_a_cancel_no_number_is_left_to_send_under(journal: Journal) -> None:
    intend(journal)
    journal.cancel(NOW)
    assert journal.intend(1, DRAFT, "sha", NOW) is None
    assert journal.chunks() == 1
    assert journal.batch_ids() == set()


def test_a_cancel_that_meets_a_chunk_begun_since_its_look_comes_after_it(journal: Journal, store: Store) -> None:
    class Late(Journal):
        def chunks(self) -> int:
            seen = super().chunks()
            if seen == 0:  # a sender begins the first chunk right after this look
                intend(journal)
            return seen

    assert Late(store).cancel(NOW).chunk == 1
    assert journal.chunks() == 1
    assert journal.state(0).intent


def test_what_ended_a_run_first_stays_its_end(journal: Journal) -> None:
    ended = journal.close(0, "budget", NOW)
    assert ended
    assert journal.cancel(NOW) == ended
    assert journal.close(0, None, NOW) == ended


def test_a_chunk_that_was_begun_keeps_the_journal_from_being_closed_before_it(journal: Journal) -> None:
    intend(journal)
    assert journal.close(0, None, NOW) is None
    assert journal.state(0).intent


def test_a_reservation_is_kept_to_the_last_digit(journal: Journal) -> None:
    exact = draft_of(ITEMS, tier=1, reserved_usd="0.000000000001")
    assert journal.intend(0, exact, "sha", NOW)
    assert journal.state(0).draft == exact
    unknown = draft_of(ITEMS, reserved_usd=None)
    assert journal.intend(1, unknown, "sha", NOW)
    assert journal.state(1).draft.reserved_cost_usd is None


def test_chunks_are_apart(journal: Journal) -> None:
    for chunk in (12, 3, 0):
        intend(journal, chunk)
    journal.submit(journal.state(3).intent or intend(journal, 3), SENT)
    assert journal.chunks() == 13
    assert journal.state(12).submitted is None
    assert journal.state(3).submitted == SENT


def test_of_two_intents_for_one_number_the_first_stands(journal: Journal, store: Store) -> None:
    first = intend(journal)
    assert Journal(store).intend(0, draft_of(("itm_9",)), "sha", NOW) is None
    assert Journal(store).intend(0, DRAFT, "sha", NOW) is None  # not even one that is alike
    assert journal.state(0).intent == first


def test_the_first_outcome_of_a_send_stands(journal: Journal) -> None:
    intent = intend(journal)
    journal.submit(intent, SENT)
    journal.submit(intent, Submitted(batch_id="msgbatch_2", submitted_at=NOW, was_adopted=True))
    assert journal.state(0).submitted == SENT


def test_many_sends_keep_their_order(journal: Journal) -> None:
    for send in range(105):
        intent = intend(journal)
        assert intent.send == send
        journal.abandon(intent, "refused")
    assert intend(journal).send == 105
    assert journal.chunks() == 1


RACER = """
import sys
from datetime import UTC, datetime
from pipelines.escalation.journal import ChunkDraft, Journal
from pipelines.store.objects import Store
draft = ChunkDraft(tier=0, model="m", item_ids=("itm_1",), shards=(0,), reserved_cost_usd=None)
journal = Journal(Store(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(*(chunk for chunk in range(100) if journal.intend(chunk, draft, "sha", datetime.now(UTC))))
"""


def test_of_racing_processes_one_gets_each_intent(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [[int(chunk) for chunk in racer.communicate()[0].split()] for racer in racers]
    assert sorted(won[0] + won[1]) == list(range(100))
    journal = Journal(Store(str(tmp_path)))
    assert journal.chunks() == 100
    assert all(journal.state(chunk).intent for chunk in range(100))


def test_a_refused_chunk_is_set_aside_once_and_for_all(journal: Journal) -> None:
    journal.abandon(intend(journal), "413")
    assert journal.set_aside(journal.state(0), NOW)
    assert journal.set_aside(journal.state(0), NOW)
    state = journal.state(0)
    assert state.intent
    assert (state.intent.is_set_aside, state.intent.send, state.draft, state.submitted) == (True, 1, DRAFT, None)


def test_a_chunk_that_another_process_sends_again_is_not_set_aside(journal: Journal) -> None:
    journal.abandon(intend(journal), "413")
    seen = journal.state(0)
    second = journal.intend(0, DRAFT, "sha", NOW)
    assert not journal.set_aside(seen, NOW)
    assert not journal.set_aside(journal.state(0), NOW)
    assert journal.state(0).intent == second


def test_a_chunk_set_aside_is_not_sent_by_a_process_that_comes_later(journal: Journal) -> None:
    journal.abandon(intend(journal), "413")
    seen = journal.state(0)
    assert journal.set_aside(seen, NOW)
    assert journal.intend(0, DRAFT, "sha", NOW) is None
