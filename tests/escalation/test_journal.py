"""The journal: what is known of a message batch at every moment, whoever asks."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.escalation.journal import ChunkState, Intent, Journal, Submitted
from pipelines.store import layout
from pipelines.store.objects import Store

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ITEMS = ("itm_1", "itm_2")
SENT = Submitted(batch_id="msgbatch_1", submitted_at=NOW)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def journal(store: Store) -> Journal:
    return Journal(store)


def intend(journal: Journal, chunk: int = 0) -> Intent:
    intent = journal.intend(chunk, "claude-haiku-5-5", ITEMS, NOW)
    assert intent
    return intent


def test_nothing_is_known_of_a_chunk_at_first(journal: Journal) -> None:
    assert journal.state(0) == ChunkState(None, None, is_collected=False)
    assert not journal.state(0).is_in_doubt
    assert journal.chunks() == []
    assert journal.batch_ids() == set()


def test_an_intent_is_in_doubt_until_its_outcome_is_written(journal: Journal) -> None:
    intent = intend(journal)
    assert (intent.chunk, intent.attempt, intent.item_ids, intent.created_at) == (0, 0, ITEMS, NOW)
    assert journal.state(0) == ChunkState(intent, None, is_collected=False)
    assert journal.state(0).is_in_doubt
    journal.submit(intent, SENT)
    assert journal.state(0) == ChunkState(intent, SENT, is_collected=False)
    assert not journal.state(0).is_in_doubt
    assert journal.batch_ids() == {"msgbatch_1"}


def test_an_abandoned_attempt_counts_as_none_and_the_next_has_its_own_number(journal: Journal) -> None:
    first = intend(journal)
    journal.abandon(first, "refused")
    assert journal.state(0) == ChunkState(None, None, is_collected=False)
    second = intend(journal)
    assert second.attempt == 1
    assert second.token != first.token
    journal.submit(second, SENT)
    assert journal.state(0) == ChunkState(second, SENT, is_collected=False)


def test_a_collected_chunk_says_so(journal: Journal, store: Store) -> None:
    intent = intend(journal)
    journal.submit(intent, SENT)
    store.create(layout.chunk_object(0, "collected.arrow"), b"rows")
    assert journal.state(0) == ChunkState(intent, SENT, is_collected=True)


def test_chunks_are_apart(journal: Journal) -> None:
    for chunk in (12, 3, 0):
        intend(journal, chunk)
    journal.submit(journal.state(3).intent or intend(journal, 3), SENT)
    assert journal.chunks() == [0, 3, 12]
    assert journal.state(12).is_in_doubt
    assert not journal.state(3).is_in_doubt


def test_of_two_intents_for_one_attempt_the_first_stands(journal: Journal, store: Store) -> None:
    first = intend(journal)
    assert Journal(store).intend(0, "claude-haiku-5-5", ITEMS, NOW) is None
    assert journal.state(0).intent == first


def test_the_first_outcome_of_an_attempt_stands(journal: Journal) -> None:
    intent = intend(journal)
    journal.submit(intent, SENT)
    journal.submit(intent, Submitted(batch_id="msgbatch_2", submitted_at=NOW, was_adopted=True))
    assert journal.state(0).submitted == SENT


def test_many_attempts_keep_their_order(journal: Journal) -> None:
    for attempt in range(105):
        intent = intend(journal)
        assert intent.attempt == attempt
        journal.abandon(intent, "refused")
    assert intend(journal).attempt == 105
    assert journal.chunks() == [0]


RACER = """
import sys
from datetime import UTC, datetime
from pipelines.escalation.journal import Journal
from pipelines.store.objects import Store
journal = Journal(Store(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(*(chunk for chunk in range(100) if journal.intend(chunk, "m", ("itm_1",), datetime.now(UTC))))
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
    assert all(Journal(Store(str(tmp_path))).state(chunk).is_in_doubt for chunk in range(100))
