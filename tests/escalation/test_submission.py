"""Sending a message batch: once, with its intent written first, and never twice whatever happens."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.escalation.journal import ChunkState, Submitted
from pipelines.escalation.provider import RefusedError, Request, UnavailableError
from pipelines.escalation.submission import Sender, body_sha256
from pipelines.store.schemas import COLLECTED
from tests.escalation.fakes import Clock, Crash, CreateOutcome, FakeProvider, draft_of
from tests.escalation.submission_case import (
    CHUNK,
    OTHER,
    OTHER_RUN,
    POLL_SECONDS,
    RUN,
    Chunk,
    Process,
    Start,
    custom_ids,
    rebuild,
    requests,
)


def test_a_chunk_is_sent_once_and_its_id_written_down(start: Start, provider: FakeProvider) -> None:
    start().send()
    assert [batch.custom_ids for batch in provider.batches] == [custom_ids()]
    assert start().submitted() == Submitted(batch_id="msgbatch_0", submitted_at=provider.clock.now())
    start().send()
    assert provider.posts == 1
    assert provider.clock.waits == 0


def test_a_collected_chunk_is_not_sent_again(start: Start, provider: FakeProvider) -> None:
    start().send()
    start().journal.collect(0, COLLECTED.empty_table())
    start().send()
    assert provider.posts == 1


def test_a_number_that_is_taken_is_not_sent(start: Start, provider: FakeProvider) -> None:
    first, second = start(), start()
    assert first.begin()
    assert not second.begin(Chunk(0, ("itm_9",)))
    assert [batch.custom_ids for batch in provider.batches] == [custom_ids()]
    assert second.journal.state(0).draft.item_ids == CHUNK.item_ids


def test_the_journal_tells_what_was_sent_by_its_hash_alone(start: Start, tmp_path: Path) -> None:
    start().send()
    intent = start().journal.state(0).intent
    assert intent
    assert intent.body_sha256 == body_sha256(requests()) != body_sha256(requests(OTHER))


def test_the_intent_is_written_before_the_post(start: Start, provider: FakeProvider) -> None:
    process = start()
    seen: list[ChunkState] = []

    class Watching(FakeProvider):
        def create(self, requests: Sequence[Request], token: str) -> str:
            seen.append(process.journal.state(0))
            assert seen[0].intent
            assert token == seen[0].intent.token
            return super().create(requests, token)

    clock = provider.clock
    sender = Sender(RUN, process.journal, Watching(clock), clock.now, clock.wait, POLL_SECONDS)
    assert sender.send(0, draft_of(CHUNK.item_ids), requests())
    (state,) = seen
    assert state.submitted is None
    assert state.draft == draft_of(CHUNK.item_ids)


def test_requests_that_cannot_be_built_leave_no_intent(start: Start, provider: FakeProvider) -> None:
    def broken(state: ChunkState) -> list[Request]:
        raise KeyError("itm_2")

    provider.outcomes = ["refused"]
    process = start()
    with pytest.raises(RefusedError):
        process.begin()
    with pytest.raises(KeyError):
        process.sender.resume(process.journal.state(0), broken)
    assert process.journal.state(0).intent is None
    assert provider.posts == 1


@pytest.mark.parametrize(("outcome", "error"), [("refused", RefusedError), ("busy", UnavailableError)])
def test_a_batch_that_was_not_taken_is_raised_and_sent_next_time(
    start: Start, provider: FakeProvider, outcome: CreateOutcome, error: type[Exception]
) -> None:
    provider.outcomes = [outcome, "taken"]
    with pytest.raises(error, match="the provider refused a message batch"):
        start().send()
    assert start().journal.state(0).intent is None  # nothing to wait for: it does not exist, for sure
    start().send()
    intent = start().journal.state(0).intent
    assert intent
    assert intent.send == 1
    assert (provider.posts, len(provider.batches), provider.clock.waits) == (2, 1, 0)


def test_where_nothing_may_be_sent_a_refused_chunk_stays_unsent(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["refused"]
    with pytest.raises(RefusedError):
        start().send()
    process = start()
    process.sender.resume(process.journal.state(0), rebuild, may_send=False)
    assert (provider.posts, process.journal.state(0).submitted) == (1, None)


OUTCOMES: list[CreateOutcome] = [
    "taken",
    "refused",
    "busy",
    "taken, reply lost",
    "not taken, reply lost",
    "crash before",
    "crash after",
]


@given(
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=4),
    processing_seconds=st.sampled_from([0, 300, 1_500]),
    list_lag_seconds=st.sampled_from([0, 60, 719]),
    cut_reads=st.integers(0, 2),
    empty_reads=st.integers(0, 2),
    has_stranger=st.booleans(),
)
def test_whatever_happens_the_provider_holds_a_chunk_exactly_once(
    tmp_path_factory: pytest.TempPathFactory,
    outcomes: list[CreateOutcome],
    processing_seconds: float,
    list_lag_seconds: float,
    cut_reads: int,
    empty_reads: int,
    has_stranger: bool,
) -> None:
    provider = FakeProvider(Clock(), list(outcomes), processing_seconds, list_lag_seconds, cut_reads, empty_reads)
    if has_stranger:
        provider.add(custom_ids(OTHER_RUN))
    root = tmp_path_factory.mktemp("run")
    for _ in range(len(outcomes) + 1):  # each start uses up at least one outcome, or is the last
        try:
            Process(root, provider).send()
            break
        except (Crash, RefusedError, UnavailableError):
            continue
    ours = [batch for batch in provider.batches if set(batch.custom_ids) == set(custom_ids())]
    assert len(ours) == 1
    assert Process(root, provider).submitted().batch_id == ours[0].status.batch_id
