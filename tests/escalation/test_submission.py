"""Sending a message batch so that no crash, lost reply or second process pays twice."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ProviderError
from pipelines.escalation.journal import Intent, Journal, Submitted
from pipelines.escalation.provider import RefusedError, Request
from pipelines.escalation.requests import custom_id_of
from pipelines.escalation.submission import Chunk, Sender, check_same_items
from pipelines.store import layout
from pipelines.store.objects import Store
from tests.escalation.fakes import Clock, Crash, CreateOutcome, FakeProvider

RUN, OTHER_RUN = "run_tickets_1", "run_tickets_2"
POLL_SECONDS = 10.0
CHUNK = Chunk(0, ("itm_1", "itm_2", "itm_3"))


def custom_ids(run_id: str = RUN, chunk: Chunk = CHUNK) -> list[str]:
    return [custom_id_of(run_id, chunk.number, item_id) for item_id in chunk.item_ids]


def requests(chunk: Chunk = CHUNK) -> list[Request]:
    return [{"custom_id": custom_id, "params": {}} for custom_id in custom_ids(RUN, chunk)]


class Process:
    """One process of the run; several may share a store, a provider and a clock."""

    def __init__(self, root: Path, provider: FakeProvider) -> None:
        self.journal = Journal(Store(str(root)))
        clock = provider.clock
        self.sender = Sender(RUN, "claude-haiku-5-5", self.journal, provider, clock.now, clock.wait, POLL_SECONDS)

    def send(self, chunk: Chunk = CHUNK) -> None:
        self.sender.ensure_submitted(chunk, lambda: requests(chunk))

    def submitted(self, chunk: int = 0) -> Submitted:
        submitted = self.journal.state(chunk).submitted
        assert submitted
        return submitted


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider(Clock())


@pytest.fixture
def start(tmp_path: Path, provider: FakeProvider) -> Callable[[], Process]:
    return lambda: Process(tmp_path, provider)


Start = Callable[[], Process]


def test_a_chunk_is_sent_once_and_its_id_written_down(start: Start, provider: FakeProvider) -> None:
    start().send()
    assert [batch.custom_ids for batch in provider.batches] == [custom_ids()]
    assert start().submitted() == Submitted(batch_id="msgbatch_0", submitted_at=provider.clock.now())
    start().send()
    assert provider.posts == 1
    assert provider.clock.waits == 0


def test_a_collected_chunk_is_not_sent_again(start: Start, provider: FakeProvider, tmp_path: Path) -> None:
    Store(str(tmp_path)).create(layout.chunk_object(0, "collected.arrow"), b"rows")
    start().send()
    assert provider.posts == 0


def test_the_intent_is_written_before_the_post(start: Start, provider: FakeProvider) -> None:
    process = start()
    seen: list[bool] = []
    create = provider.create

    class Watching(FakeProvider):
        def create(self, requests: object) -> str:
            seen.append(process.journal.state(0).is_in_doubt)
            return create(requests)  # type: ignore[arg-type]

    watching = Watching(provider.clock)
    sender = Sender(RUN, "m", process.journal, watching, provider.clock.now, provider.clock.wait, POLL_SECONDS)
    sender.ensure_submitted(CHUNK, requests)
    assert seen == [True]


def test_requests_that_cannot_be_built_leave_no_intent(start: Start, provider: FakeProvider) -> None:
    def broken() -> list[Request]:
        raise KeyError("itm_2")

    process = start()
    with pytest.raises(KeyError):
        process.sender.ensure_submitted(CHUNK, broken)
    assert process.journal.chunks() == []


def test_a_refused_batch_is_raised_and_sent_as_the_next_attempt_when_asked_again(
    start: Start, provider: FakeProvider
) -> None:
    provider.outcomes = ["refused", "taken"]
    with pytest.raises(RefusedError, match="429 rate_limit_error"):
        start().send()
    assert start().journal.state(0).intent is None
    start().send()
    intent = start().journal.state(0).intent
    assert intent
    assert intent.attempt == 1
    assert (provider.posts, len(provider.batches), provider.clock.waits) == (2, 1, 0)


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
    assert intent.attempt == 1


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
    assert start().journal.state(0).is_in_doubt
    start().send()
    assert (provider.posts, start().submitted().was_adopted) == (1, True)


def test_a_cut_off_read_of_the_results_does_not_disown_our_batch(start: Start, provider: FakeProvider) -> None:
    """A connection cut at a line end gives fewer rows and no error: sending again would pay twice."""
    provider.outcomes = ["crash after"]
    with pytest.raises(Crash):
        start().send()
    provider.clock.wait(3_600)
    provider.cut_reads = 2
    start().send()
    assert (provider.posts, start().submitted().was_adopted) == (1, True)


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
        "m",
        process.journal,
        provider,
        lambda: provider.clock.now() + timedelta(minutes=4),
        provider.clock.wait,
        POLL_SECONDS,
    )
    ahead.ensure_submitted(CHUNK, requests)
    assert (provider.posts, process.submitted().was_adopted) == (1, True)


def test_two_chunks_in_doubt_of_the_same_size_get_their_own_batches(start: Start, provider: FakeProvider) -> None:
    other = Chunk(1, ("itm_4", "itm_5", "itm_6"))
    provider.outcomes = ["crash after", "crash after"]
    for chunk in (CHUNK, other):
        with pytest.raises(Crash):
            start().send(chunk)
    start().send(other)
    start().send(CHUNK)
    assert (start().submitted(0).batch_id, start().submitted(1).batch_id) == ("msgbatch_0", "msgbatch_1")
    assert provider.posts == 2


def test_our_own_batch_of_another_chunk_in_progress_holds_nothing_up(start: Start, provider: FakeProvider) -> None:
    provider.processing_seconds = 50_000
    provider.outcomes = ["taken", "not taken, reply lost"]
    start().send()
    started_at = provider.clock.now()
    start().send(Chunk(1, ("itm_4", "itm_5", "itm_6")))
    assert provider.clock.now() - started_at < timedelta(seconds=1_000)
    assert start().submitted(1).batch_id == "msgbatch_1"


def test_another_process_that_is_still_sending_is_waited_for(start: Start, provider: FakeProvider) -> None:
    first = start()
    intent = first.journal.intend(0, "claude-haiku-5-5", CHUNK.item_ids, provider.clock.now())
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
    intent = first.journal.intend(0, "claude-haiku-5-5", CHUNK.item_ids, provider.clock.now())
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
    assert start().journal.state(0).is_in_doubt
    start().send()
    assert (provider.posts, start().submitted().was_adopted) == (1, True)


OUTCOMES: list[CreateOutcome] = [
    "taken",
    "refused",
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
    has_stranger=st.booleans(),
)
def test_whatever_happens_the_provider_holds_a_chunk_exactly_once(
    tmp_path_factory: pytest.TempPathFactory,
    outcomes: list[CreateOutcome],
    processing_seconds: float,
    list_lag_seconds: float,
    cut_reads: int,
    has_stranger: bool,
) -> None:
    provider = FakeProvider(Clock(), list(outcomes), processing_seconds, list_lag_seconds, cut_reads)
    if has_stranger:
        provider.add(custom_ids(OTHER_RUN))
    root = tmp_path_factory.mktemp("run")
    for _ in range(len(outcomes) + 1):  # each start uses up at least one outcome, or is the last
        try:
            Process(root, provider).send()
            break
        except (Crash, RefusedError):
            continue
    ours = [batch for batch in provider.batches if set(batch.custom_ids) == set(custom_ids())]
    assert len(ours) == 1
    assert Process(root, provider).submitted().batch_id == ours[0].status.batch_id


def test_a_plan_that_changed_after_sending_is_refused(provider: FakeProvider) -> None:
    intent = Intent(
        chunk=3, attempt=0, token="t", created_at=provider.clock.now(), model="m", item_ids=("itm_1", "itm_2")
    )
    check_same_items(intent, ["itm_1", "itm_2"])
    for other in (["itm_2", "itm_1"], ["itm_1"], ["itm_1", "itm_2", "itm_3"]):
        with pytest.raises(ProviderError) as caught:
            check_same_items(intent, other)
        assert str(caught.value) == (
            "chunk 3 was sent with other items than this run would send now; its folder was changed by hand. "
            "Start a new run with another --run-id"
        )
