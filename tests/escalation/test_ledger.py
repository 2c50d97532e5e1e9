"""Where every item stands: bounded attempts, tiers in turn, every request's cost, and what is held."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.escalation.endings import ATTEMPTS_PER_TIER, Ending
from pipelines.escalation.journal import ChunkState
from pipelines.escalation.ledger import Ledger, Standing, Step
from pipelines.store.schemas import COLLECTED
from tests.escalation.fakes import draft_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def begin(ledger: Ledger, chunk: int, *item_ids: str, tier: int = 0, reserved: str | None = "0.01") -> None:
    ledger.begin(ChunkState(chunk, draft_of(item_ids, tier, reserved), None, None, is_collected=False))


def answers(**rows: dict[str, Any]) -> pa.Table:
    fixed = {"model": "claude-haiku-5-5", "settled_at": NOW, "api_cost_usd": Decimal("0.001")}
    tokens = {"input_tokens": 10, "cache_read_tokens": 4, "cache_write_1h_tokens": 3, "output_tokens": 2}
    filled = [fixed | tokens | {"item_id": item_id, "reason": "why"} | row for item_id, row in rows.items()]
    return pa.Table.from_pylist(filled, schema=COLLECTED)


def ended(ending: Ending, **values: Any) -> dict[str, Any]:
    return {"ending": ending.value, "label": "billing" if ending is Ending.ANSWERED else None} | values


def ask(ledger: Ledger, chunk: int, ending: Ending, **values: Any) -> Standing:
    """Ask once more about itm_1, and have it end so."""
    step = ledger.next_step("itm_1")
    assert step
    begin(ledger, chunk, "itm_1", tier=step.tier)
    ledger.settle(chunk, answers(itm_1=ended(ending, **values)))
    return ledger.standing("itm_1")


def test_an_item_is_new_then_in_flight_then_settled() -> None:
    ledger = Ledger(tiers=1)
    assert ledger.next_step("itm_1") == Step(0)
    begin(ledger, 0, "itm_1", "itm_2")
    assert ledger.next_step("itm_1") is None
    assert list(ledger.unsettled(["itm_1", "itm_2", "itm_3"])) == ["itm_1", "itm_2", "itm_3"]
    settled = ledger.settle(0, answers(itm_1=ended(Ending.ANSWERED), itm_2=ended(Ending.AGAIN)))
    assert settled == ["itm_1"]
    assert ledger.next_step("itm_1") is None
    assert ledger.next_step("itm_2") == Step(0)
    standing = ledger.standing("itm_1")
    assert (standing.label, standing.reason, standing.model) == ("billing", None, "claude-haiku-5-5")
    assert list(ledger.unsettled(["itm_1", "itm_2", "itm_3"])) == ["itm_2", "itm_3"]


def test_attempts_on_a_tier_are_bounded_and_then_it_is_review() -> None:
    ledger = Ledger(tiers=1)
    for attempt in range(1, ATTEMPTS_PER_TIER):
        standing = ask(ledger, attempt, Ending.AGAIN)
        assert (standing.attempts, standing.is_settled) == (attempt, False)
    last = ask(ledger, ATTEMPTS_PER_TIER, Ending.AGAIN)
    assert (last.is_settled, last.label, last.reason) == (True, None, f"why ({ATTEMPTS_PER_TIER} times)")
    assert ledger.next_step("itm_1") is None


def test_every_tier_gets_its_own_attempts() -> None:
    ledger = Ledger(tiers=2)
    for chunk in range(ATTEMPTS_PER_TIER):
        ask(ledger, chunk, Ending.AGAIN)
    assert ledger.next_step("itm_1") == Step(1)
    for chunk in range(ATTEMPTS_PER_TIER, 2 * ATTEMPTS_PER_TIER - 1):
        assert not ask(ledger, chunk, Ending.AGAIN).is_settled
        assert ledger.next_step("itm_1") == Step(1)
    assert ask(ledger, 99, Ending.AGAIN).is_settled


@pytest.mark.parametrize("tiers", [1, 2, 3])
def test_what_the_same_model_would_do_again_goes_on_at_once(tiers: int) -> None:
    ledger = Ledger(tiers)
    for tier in range(tiers - 1):
        assert not ask(ledger, tier, Ending.NEXT_TIER).is_settled
        assert ledger.next_step("itm_1") == Step(tier + 1)
    last = ask(ledger, tiers, Ending.NEXT_TIER)
    assert (last.is_settled, last.label, last.reason) == (True, None, "why")


def test_the_accounts_fault_does_not_count_as_an_attempt() -> None:
    ledger = Ledger(tiers=1)
    for chunk in range(10):
        standing = ask(ledger, chunk, Ending.ACCOUNT, api_cost_usd=Decimal(0))
        assert (standing.attempts, standing.is_settled) == (0, False)
    for chunk in range(10, 9 + ATTEMPTS_PER_TIER):
        assert not ask(ledger, chunk, Ending.AGAIN).is_settled
        assert not ask(ledger, chunk + 50, Ending.ACCOUNT).is_settled
    assert ask(ledger, 99, Ending.ANSWERED).label == "billing"


def test_cost_and_tokens_are_those_of_all_requests_together() -> None:
    ledger = Ledger(tiers=2)
    ask(ledger, 0, Ending.AGAIN, api_cost_usd=Decimal("0.000000000001"))
    ask(ledger, 1, Ending.NEXT_TIER, api_cost_usd=Decimal("0.25"))
    unread: dict[str, Any] = {"input_tokens": None, "cache_read_tokens": None, "cache_write_1h_tokens": None}
    ask(ledger, 2, Ending.AGAIN, api_cost_usd=Decimal(0), output_tokens=None, **unread)
    last = ask(ledger, 3, Ending.ANSWERED, api_cost_usd=Decimal("0.5"), model="claude-opus-5-5")
    assert last.cost_usd == Decimal("0.750000000001")
    assert (last.input_tokens, last.cached_tokens, last.output_tokens) == (3 * 17, 3 * 4, 3 * 2)
    assert (last.model, last.reason) == ("claude-opus-5-5", None)


def test_one_unknown_cost_makes_the_items_cost_unknown_for_good() -> None:
    ledger = Ledger(tiers=1)
    assert ask(ledger, 0, Ending.AGAIN, api_cost_usd=None).cost_usd is None
    assert ask(ledger, 1, Ending.ANSWERED).cost_usd is None


def test_committed_is_spent_and_held_together() -> None:
    ledger = Ledger(tiers=1)
    assert ledger.committed_usd == 0
    begin(ledger, 0, "itm_1", reserved="0.01")
    begin(ledger, 1, "itm_2", reserved="0.02")
    assert ledger.committed_usd == Decimal("0.03")
    ledger.settle(0, answers(itm_1=ended(Ending.ANSWERED)))
    assert ledger.committed_usd == Decimal("0.021")
    ledger.settle(1, answers(itm_2=ended(Ending.AGAIN)))
    assert ledger.committed_usd == Decimal("0.002")


def test_what_was_held_stays_held_where_the_cost_stays_unknown() -> None:
    """A row without usage may have been billed: forgetting it would let the budget be overdrawn."""
    ledger = Ledger(tiers=1)
    begin(ledger, 0, "itm_1", "itm_2", reserved="0.05")
    ledger.settle(0, answers(itm_1=ended(Ending.ANSWERED), itm_2=ended(Ending.AGAIN, api_cost_usd=None)))
    assert ledger.committed_usd == Decimal("0.05")
    begin(ledger, 1, "itm_2", reserved="0.03")
    ledger.settle(1, answers(itm_2=ended(Ending.ANSWERED)))
    assert ledger.committed_usd == Decimal("0.051")


def test_without_a_price_nobody_knows_what_is_committed() -> None:
    ledger = Ledger(tiers=1)
    begin(ledger, 0, "itm_1", reserved=None)
    assert ledger.committed_usd is None
    ledger.settle(0, answers(itm_1=ended(Ending.ANSWERED, api_cost_usd=None)))
    assert ledger.committed_usd is None


def test_each_chunk_that_is_too_large_halves_those_that_follow_and_counts_as_no_attempt() -> None:
    ledger, items = Ledger(tiers=1), [f"itm_{number}" for number in range(5)]
    assert ledger.most_items_per_chunk == math.inf
    begin(ledger, 0, *items)
    assert ledger.settle(0, answers(**dict.fromkeys(items, ended(Ending.SMALLER_BATCH, api_cost_usd=Decimal(0))))) == []
    assert ledger.most_items_per_chunk == 2
    assert ledger.standing("itm_0").attempts == 0
    assert ledger.committed_usd == 0
    begin(ledger, 1, *items)  # begun by a process that did not know yet
    ledger.settle(1, answers(**dict.fromkeys(items, ended(Ending.SMALLER_BATCH, api_cost_usd=Decimal(0)))))
    assert ledger.most_items_per_chunk == 2


UNCOUNTED = (Ending.ACCOUNT, Ending.SMALLER_BATCH, Ending.NOT_SENT)  # the attempt does not count


@given(
    st.lists(st.sampled_from([e for e in Ending if e not in UNCOUNTED])),
    st.integers(1, 3),
)
def test_whatever_happens_an_item_is_settled_in_time_and_paid_in_full(endings: list[Ending], tiers: int) -> None:
    ledger, asked = Ledger(tiers), 0
    for chunk, ending in enumerate([*endings, *[Ending.AGAIN] * tiers * ATTEMPTS_PER_TIER]):
        if ledger.next_step("itm_1") is None:
            break
        ask(ledger, chunk, ending)
        asked += 1
    standing = ledger.standing("itm_1")
    assert standing.is_settled
    assert asked <= tiers * ATTEMPTS_PER_TIER
    assert (standing.label is None) != (standing.reason is None)
    assert standing.cost_usd == ledger.committed_usd == asked * Decimal("0.001")
