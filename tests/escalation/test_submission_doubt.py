"""A send that may or may not have reached the provider: our batch is found and adopted, or sent again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest

from pipelines.errors import ProviderError
from pipelines.escalation.journal import Submitted
from pipelines.escalation.provider import Request
from pipelines.escalation.requests import custom_id_of
from pipelines.escalation.submission import Sender, body_sha256
from tests.escalation.fakes import Crash, CreateOutcome, FakeProvider, draft_of
from tests.escalation.submission_case import (
    CHUNK,
    OTHER,
    OTHER_RUN,
    POLL_SECONDS,
    RUN,
    Start,
    custom_ids,
    rebuild,
    requests,
)


def test_a_batch_whose_reply_was_lost_is_adopted(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["taken, reply lost"]
    sent_at = provider.clock.now()
    start().send()
    assert provider.posts == 1
    assert start().submitted() == Submitted(batch_id="msgbatch_0", submitted_at=sent_at, was_adopted=True)


def test_a_batch_that_shows_up_late_in_the_list_is_adopted(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["taken, reply lost"]
    provider.list_lag_seconds = provider.settle_seconds - 1
    start().send()
    assert provider.posts == 1
    assert start().submitted().was_adopted


def test_a_batch_still_in_progress_is_waited_for(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["taken, reply lost"]
    provider.processing_seconds = 7_200
    started_at = provider.clock.now()
    start().send()
    assert provider.clock.now() - started_at >= timedelta(seconds=7_200)
    assert (provider.posts, start().submitted().batch_id) == (1, "msgbatch_0")


def test_a_batch_that_never_arrived_is_sent_again_once_the_list_can_be_trusted(
    start: Start, provider: FakeProvider
) -> None:
    provider.outcomes = ["not taken, reply lost"]
    started_at = provider.clock.now()
    start().send()
    waited = (provider.clock.now() - started_at).total_seconds()
    assert provider.settle_seconds <= waited <= provider.settle_seconds + POLL_SECONDS
    assert (provider.posts, len(provider.batches)) == (2, 1)
    intent = start().journal.state(0).intent
    assert intent
    assert intent.send == 1


def test_a_crash_after_the_intent_and_before_the_post(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["crash before"]
    with pytest.raises(Crash):
        start().send()
    provider.clock.wait(3_600)  # down for an hour: nothing to wait for any more
    waits = provider.clock.waits
    start().send()
    assert provider.clock.waits == waits
    assert (provider.posts, len(provider.batches)) == (1, 1)
    assert not start().submitted().was_adopted


def test_a_crash_after_the_post_and_before_the_id_is_written(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["crash after"]
    with pytest.raises(Crash):
        start().send()
    assert start().journal.state(0).submitted is None
    start().send()
    assert (provider.posts, start().submitted().was_adopted) == (1, True)


@pytest.mark.parametrize(("cut_reads", "empty_reads"), [(1, 0), (2, 0), (0, 1), (0, 3)])
def test_a_cut_off_read_of_the_results_does_not_disown_our_batch(
    start: Start, provider: FakeProvider, cut_reads: int, empty_reads: int
) -> None:
    """A connection cut at a line end gives fewer rows, or none, and no error: sending again would pay twice."""
    provider.outcomes = ["crash after"]
    with pytest.raises(Crash):
        start().send()
    provider.clock.wait(3_600)
    provider.cut_reads, provider.empty_reads = cut_reads, empty_reads
    start().send()
    assert (provider.posts, start().submitted().was_adopted) == (1, True)


def test_a_single_id_of_ours_shows_that_a_batch_is_ours(start: Start, provider: FakeProvider) -> None:
    """The provider lost a row, or invented one: the batch was paid for all the same."""
    provider.outcomes = ["not taken, reply lost"]
    provider.add([custom_ids()[1], "something-else", "something-else-again"])
    start().send()
    assert (provider.posts, start().submitted().batch_id) == (1, "msgbatch_0")


def test_another_chunk_of_this_run_is_a_stranger_too(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["not taken, reply lost"]
    provider.add([custom_id_of(RUN, 7, item_id) for item_id in CHUNK.item_ids])
    start().send()
    assert (provider.posts, start().submitted().batch_id) == (2, "msgbatch_1")


@pytest.mark.parametrize(("outcome", "is_held"), [("taken, reply lost", True), ("not taken, reply lost", False)])
def test_where_nothing_may_be_sent_a_doubt_is_settled_all_the_same(
    start: Start, provider: FakeProvider, outcome: CreateOutcome, is_held: bool
) -> None:
    provider.outcomes = [outcome]
    process = start()
    process.begin()
    process.sender.resume(process.journal.state(0), rebuild, may_send=False)
    assert provider.posts == 1
    assert (process.journal.state(0).submitted is not None) is is_held


def test_another_runs_batch_of_the_same_size_is_not_adopted(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["not taken, reply lost"]
    provider.add(custom_ids(OTHER_RUN))
    start().send()
    assert provider.posts == 2
    assert start().submitted() == Submitted(batch_id="msgbatch_1", submitted_at=provider.clock.now())


def test_another_runs_batch_in_progress_is_waited_for_before_sending_again(
    start: Start, provider: FakeProvider
) -> None:
    provider.outcomes = ["not taken, reply lost"]
    provider.processing_seconds = 2_000
    provider.add(custom_ids(OTHER_RUN))
    started_at = provider.clock.now()
    start().send()
    assert provider.clock.now() - started_at >= timedelta(seconds=2_000)
    assert [batch.custom_ids for batch in provider.batches] == [custom_ids(OTHER_RUN), custom_ids()]


def test_our_batch_is_found_among_others(start: Start, provider: FakeProvider) -> None:
    provider.add(custom_ids(OTHER_RUN))
    provider.outcomes = ["taken, reply lost"]
    provider.add(custom_ids()[:2])
    start().send()
    assert (provider.posts, start().submitted().batch_id) == (1, "msgbatch_2")


def test_a_batch_from_long_before_the_intent_is_no_candidate(start: Start, provider: FakeProvider) -> None:
    provider.add(custom_ids())  # e.g. of a folder that was deleted since
    provider.clock.wait(3_600)
    provider.outcomes = ["not taken, reply lost"]
    start().send()
    assert start().submitted().batch_id == "msgbatch_1"


def test_our_clock_may_be_minutes_ahead_of_the_providers(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["taken, reply lost"]
    process = start()
    ahead = Sender(
        RUN,
        process.journal,
        provider,
        lambda: provider.clock.now() + timedelta(minutes=4),
        provider.clock.wait,
        POLL_SECONDS,
    )
    ahead.send(0, draft_of(CHUNK.item_ids), requests())
    ahead.resume(process.journal.state(0), rebuild)
    assert (provider.posts, process.submitted().was_adopted) == (1, True)


def test_two_chunks_in_doubt_of_the_same_size_get_their_own_batches(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["crash after", "crash after"]
    for chunk in (CHUNK, OTHER):
        with pytest.raises(Crash):
            start().send(chunk)
    start().send(OTHER)
    start().send(CHUNK)
    assert (start().submitted(0).batch_id, start().submitted(1).batch_id) == ("msgbatch_0", "msgbatch_1")
    assert provider.posts == 2


def test_our_own_batch_of_another_chunk_in_progress_holds_nothing_up(start: Start, provider: FakeProvider) -> None:
    provider.processing_seconds = 50_000
    provider.outcomes = ["taken", "not taken, reply lost"]
    start().send()
    started_at = provider.clock.now()
    start().send(OTHER)
    assert provider.clock.now() - started_at < timedelta(seconds=1_000)
    assert start().submitted(1).batch_id == "msgbatch_1"


def test_another_process_that_is_still_sending_is_waited_for(start: Start, provider: FakeProvider) -> None:
    first = start()
    intent = first.journal.intend(0, draft_of(CHUNK.item_ids), body_sha256(requests()), provider.clock.now())
    assert intent

    def arrive() -> None:
        first.journal.submit(intent, Submitted(batch_id="msgbatch_9", submitted_at=provider.clock.now()))

    provider.clock.at(100, arrive)
    start().send()
    assert provider.posts == 0
    assert start().submitted().batch_id == "msgbatch_9"


def test_another_process_that_is_refused_meanwhile_leaves_the_sending_to_us(
    start: Start, provider: FakeProvider
) -> None:
    first = start()
    intent = first.journal.intend(0, draft_of(CHUNK.item_ids), body_sha256(requests()), provider.clock.now())
    assert intent
    provider.clock.at(100, lambda: first.journal.abandon(intent, "refused"))
    start().send()
    assert provider.posts == 1
    assert provider.clock.waits == 10


def test_a_stop_while_waiting_leaves_the_doubt_to_the_next_start(start: Start, provider: FakeProvider) -> None:
    provider.outcomes = ["taken, reply lost"]
    provider.processing_seconds = 600

    def stop() -> None:
        raise Crash

    provider.clock.at(60, stop)
    with pytest.raises(Crash):
        start().send()
    assert start().journal.state(0).submitted is None
    start().send()
    assert (provider.posts, start().submitted().was_adopted) == (1, True)


def test_a_batch_sent_so_late_that_another_process_gave_it_up_is_cancelled_and_told(
    start: Start, provider: FakeProvider
) -> None:
    class Slow(FakeProvider):
        """Its caller stands still between intent and POST, until another process has sent the chunk anew."""

        cancelled: ClassVar[list[str]] = []

        def create(self, requests: Sequence[Request], token: str) -> str:
            start().send()
            return provider.create(requests, token)

        def cancel(self, batch_id: str) -> None:
            self.cancelled.append(batch_id)

    slow = Slow(provider.clock)
    process = start()
    with pytest.raises(ProviderError, match="msgbatch_1 was sent too late"):
        replace(process.sender, provider=slow).send(0, draft_of(CHUNK.item_ids), requests())
    assert slow.cancelled == ["msgbatch_1"]
    assert start().submitted().batch_id == "msgbatch_0"
