"""A run's process that sends chunks, and what a test needs to start several of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.escalation.journal import ChunkState, Journal, Submitted
from pipelines.escalation.provider import Request
from pipelines.escalation.requests import custom_id_of
from pipelines.escalation.submission import Sender
from pipelines.store.objects import Store
from tests.escalation.fakes import FakeProvider, draft_of

RUN, OTHER_RUN = "run_tickets_1", "run_tickets_2"
POLL_SECONDS = 10.0


@dataclass(frozen=True)
class Chunk:
    number: int
    item_ids: tuple[str, ...]


CHUNK = Chunk(0, ("itm_1", "itm_2", "itm_3"))
OTHER = Chunk(1, ("itm_4", "itm_5", "itm_6"))


def custom_ids(run_id: str = RUN, chunk: Chunk = CHUNK) -> list[str]:
    return [custom_id_of(run_id, chunk.number, item_id) for item_id in chunk.item_ids]


def requests(chunk: Chunk = CHUNK) -> list[Request]:
    return [{"custom_id": custom_id, "params": {}} for custom_id in custom_ids(RUN, chunk)]


def rebuild(state: ChunkState) -> list[Request]:
    return requests(Chunk(state.chunk, state.draft.item_ids))


class Process:
    """One process of the run; several may share a store, a provider and a clock."""

    def __init__(self, root: Path, provider: FakeProvider) -> None:
        self.journal = Journal(Store(str(root)))
        clock = provider.clock
        self.sender = Sender(RUN, self.journal, provider, clock.now, clock.wait, POLL_SECONDS)

    def begin(self, chunk: Chunk = CHUNK) -> bool:
        return self.sender.send(chunk.number, draft_of(chunk.item_ids), requests(chunk))

    def send(self, chunk: Chunk = CHUNK) -> None:
        """Begin the chunk unless it is begun, and have the provider hold it."""
        if self.journal.chunks() <= chunk.number:
            self.begin(chunk)
        self.sender.resume(self.journal.state(chunk.number), rebuild)

    def submitted(self, chunk: int = 0) -> Submitted:
        submitted = self.journal.state(chunk).submitted
        assert submitted
        return submitted


Start = Callable[[], Process]
