"""What the next message batch takes of the candidates that wait: never more than it has room for, in order."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pipelines.escalation.chunks import Candidate, Chunk, ChunkLimits, Waiting, next_chunk
from pipelines.routes import Stop

LIMITS = ChunkLimits(
    tier=0,
    model="claude-haiku-5-5",
    most_items=3,
    most_bytes=1_000,
    least_items=1,
    is_within_budget=False,
    budget_left_usd=None,
    least_items_within_budget=0,
)


def candidate(number: int, size: int = 10, cost: str | None = "1") -> Candidate:
    return Candidate(f"itm_{number}", number // 2, f"text {number}", size, None if cost is None else Decimal(cost))


def waiting(count: int) -> Waiting:
    return Waiting(candidate(number) for number in range(count))


def within(budget_usd: str | None, **limits: int) -> ChunkLimits:
    left = None if budget_usd is None else Decimal(budget_usd)
    return replace(LIMITS, is_within_budget=True, budget_left_usd=left, **limits)


def taken(chunk: Chunk | Stop | None) -> list[str]:
    assert isinstance(chunk, Chunk)
    assert chunk.texts == [item_id.replace("itm_", "text ") for item_id in chunk.draft.item_ids]
    return list(chunk.draft.item_ids)


def test_chunks_are_full_until_the_last_and_then_there_is_none() -> None:
    left = waiting(5)
    first = next_chunk(left, LIMITS)
    assert taken(first) == ["itm_0", "itm_1", "itm_2"]
    assert isinstance(first, Chunk)
    assert (first.draft.shards, first.draft.reserved_cost_usd) == ((0, 1), 3)
    assert taken(next_chunk(left, LIMITS)) == ["itm_3", "itm_4"]
    assert next_chunk(left, LIMITS) is None
    assert next_chunk(waiting(0), within("0")) is None, "nothing to send is not a lack of money"


def test_a_chunk_ends_before_it_is_too_large_and_takes_a_large_item_alone() -> None:
    left = Waiting([candidate(0, 600), candidate(1, 400), candidate(2, 1), candidate(3, 5_000), candidate(4)])
    assert taken(next_chunk(left, LIMITS)) == ["itm_0", "itm_1"]
    assert taken(next_chunk(left, LIMITS)) == ["itm_2"]
    assert taken(next_chunk(left, LIMITS)) == ["itm_3"]
    assert taken(next_chunk(left, LIMITS)) == ["itm_4"]


def test_a_budget_cuts_a_chunk_short_and_then_says_so() -> None:
    left = waiting(5)
    assert taken(next_chunk(left, within("2.5"))) == ["itm_0", "itm_1"]
    assert next_chunk(left, within("0.5")) is Stop.BUDGET
    assert taken(next_chunk(left, within("9"))) == ["itm_2", "itm_3", "itm_4"], "with more, it goes on where it stood"


def test_a_chunk_that_the_budget_cuts_too_short_is_not_worth_waiting_for() -> None:
    left = waiting(3)
    assert next_chunk(left, within("1", least_items_within_budget=2)) is Stop.BUDGET
    assert taken(next_chunk(left, LIMITS)) == ["itm_0", "itm_1", "itm_2"]


def test_what_has_no_price_is_sent_without_a_budget_and_never_within_one() -> None:
    unpriced = [candidate(0, cost=None), candidate(1)]
    chunk = next_chunk(Waiting(unpriced), LIMITS)
    assert isinstance(chunk, Chunk) and chunk.draft.reserved_cost_usd is None
    assert next_chunk(Waiting(unpriced), within("100")) is Stop.BUDGET
    assert next_chunk(waiting(1), within(None)) is Stop.BUDGET, "nobody knows what is spent"


def test_fewer_than_the_provider_takes_are_not_sent() -> None:
    left = waiting(2)
    assert next_chunk(left, replace(LIMITS, least_items=3)) is Stop.TOO_FEW
    assert next_chunk(left, within("1", least_items=2)) is Stop.BUDGET


@given(
    st.lists(st.tuples(st.integers(1, 1_500), st.integers(0, 30)), max_size=30),
    st.integers(1, 8),
    st.integers(0, 200),
)
def test_every_candidate_is_sent_once_and_in_order_until_the_money_is_gone(
    given_items: list[tuple[int, int]], most_items: int, budget: int
) -> None:
    items = [candidate(number, size, str(cost)) for number, (size, cost) in enumerate(given_items)]
    left, money, sent = Waiting(items), Decimal(budget), list[str]()
    while isinstance(chunk := next_chunk(left, replace(within(str(money)), most_items=most_items)), Chunk):
        draft = chunk.draft
        assert 0 < len(draft.item_ids) <= most_items
        sizes = [items[int(item_id[4:])].request_bytes for item_id in draft.item_ids]
        assert len(sizes) == 1 or sum(sizes) <= LIMITS.most_bytes
        assert draft.reserved_cost_usd is not None
        money -= draft.reserved_cost_usd
        assert money >= 0
        sent += draft.item_ids
    assert sent == [each.item_id for each in items[: len(sent)]]
    assert (chunk is None) == (len(sent) == len(items))
