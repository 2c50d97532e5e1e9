"""Which doubtful items make the next message batch: as many as one batch, its size and the budget have room for.

In: candidates in the plan's order, and the limits as they stand now. Out: a chunk to be journalled and sent, or why
none comes. Sends nothing and remembers nothing: what a chunk has no room for is put back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pipelines.costs.reservations import affordable
from pipelines.escalation.journal import ChunkDraft
from pipelines.routes import Stop


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that one tier is to be asked about."""

    item_id: str
    shard: int
    text: str
    request_bytes: int
    worst_cost_usd: Decimal | None  # None: the model has no price


@dataclass(frozen=True)
class ChunkLimits:
    """What a chunk has room for."""

    tier: int
    model: str
    most_items: float
    most_bytes: int
    least_items: int  # the provider's: a smaller batch is not taken
    is_within_budget: bool  # the run has one
    budget_left_usd: Decimal | None  # None: no budget, or what is spent is not known
    least_items_within_budget: int  # of a chunk that the budget cuts short: fewer are not worth waiting for


@dataclass(frozen=True)
class Chunk:
    """What is journalled of a batch, and the texts of its items, in the same order."""

    draft: ChunkDraft
    texts: list[str]


class Waiting(Iterator[Candidate]):
    """Candidates in order; what is put back comes first again."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._candidates, self._put_back = iter(candidates), deque[Candidate]()

    def __next__(self) -> Candidate:
        return self._put_back.popleft() if self._put_back else next(self._candidates)

    def put_back(self, candidates: Sequence[Candidate]) -> None:
        """To be taken again, in this order."""
        self._put_back.extendleft(reversed(candidates))


def next_chunk(waiting: Waiting, limits: ChunkLimits) -> Chunk | Stop | None:
    """Take the candidates of the next chunk.

    Returns:
        A chunk; why the candidates that are left cannot be sent; or None if there are none.
    """
    taken = _fill(waiting, limits)
    count = _affordable(taken, limits)
    if count < len(taken):
        waiting.put_back(taken[count:])
        if count < max(limits.least_items_within_budget, limits.least_items, 1):
            waiting.put_back(taken[:count])
            return Stop.BUDGET
    elif not taken:
        return None
    elif count < limits.least_items:
        waiting.put_back(taken)
        return Stop.TOO_FEW
    chosen = taken[:count]
    known = [each.worst_cost_usd for each in chosen if each.worst_cost_usd is not None]
    draft = ChunkDraft(
        tier=limits.tier,
        model=limits.model,
        item_ids=tuple(each.item_id for each in chosen),
        shards=tuple(sorted({each.shard for each in chosen})),
        reserved_cost_usd=sum(known, Decimal(0)) if len(known) == len(chosen) else None,
    )
    return Chunk(draft, [each.text for each in chosen])


def _fill(waiting: Waiting, limits: ChunkLimits) -> list[Candidate]:
    """As many as a batch takes; at least one, however large it is alone."""
    taken: list[Candidate] = []
    size = 0
    for candidate in waiting:
        size += candidate.request_bytes
        if taken and (len(taken) >= limits.most_items or size > limits.most_bytes):
            waiting.put_back([candidate])
            break
        taken.append(candidate)
    return taken


def _affordable(taken: Sequence[Candidate], limits: ChunkLimits) -> int:
    """How many, from the first on, the budget reaches for; none if it is not known what one of them costs."""
    if not limits.is_within_budget:
        return len(taken)
    known = [each.worst_cost_usd for each in taken if each.worst_cost_usd is not None]
    if limits.budget_left_usd is None or len(known) < len(taken):  # refused at submit; a price may end with the day
        return 0
    return affordable(known, limits.budget_left_usd)
