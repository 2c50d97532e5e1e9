"""The worst case: never less than what a request then costs, and no more of them than there is room for."""

import json
import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.costs.price_book import TokenUsage, price_book
from pipelines.costs.reservations import WorstCase, affordable
from pipelines.escalation.requests import RequestTemplate
from pipelines.tasks.classification import Label, answer_schema, claude_system_prompt

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CHARACTERS_PER_TOKEN = 3.5
MODELS = sorted({price.model for price in price_book().price if price.provider == "anthropic"})
LABELS = (Label("A", "billing", "money"), Label("B", "outage", None))


def worst_case(template: RequestTemplate, is_us_inference: bool = False) -> WorstCase:
    return WorstCase(
        price_book(),
        template.model,
        template.shared_bytes(),
        template.max_output_tokens,
        NOW,
        is_us_inference,
        template.is_cached,
    )


def template_of(model: str, instructions: str = "Sort it.", max_output_tokens: int = 64) -> RequestTemplate:
    return RequestTemplate(model, max_output_tokens, claude_system_prompt(LABELS, instructions), answer_schema(LABELS))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3_000)


@given(
    model=st.sampled_from(MODELS),
    instructions=TEXTS,
    text=TEXTS,
    kind=st.sampled_from(["input", "cache_write_5m", "cache_write_1h", "cache_read"]),
    output=st.integers(0, 64),
    is_us_inference=st.booleans(),
)
def test_a_request_never_costs_more_than_was_held_for_it(
    model: str, instructions: str, text: str, kind: str, output: int, is_us_inference: bool
) -> None:
    template = template_of(model, instructions)
    read = len(template.system_prompt) + len(json.dumps(template.schema)) + len(text)
    prompt = {kind: math.ceil(read / CHARACTERS_PER_TOKEN)}
    nothing = {"input": 0, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0}
    usage = TokenUsage(**nothing | prompt, output=output, is_us_inference=is_us_inference)
    cost = price_book().batch_cost(model, usage, NOW)
    held = worst_case(template, is_us_inference).of_request(len(text.encode()))
    assert cost is not None
    assert held is not None
    assert held >= cost


@given(st.integers(0, 10**7), st.integers(0, 10**5))
def test_a_longer_text_is_never_held_at_less(text_bytes: int, more: int) -> None:
    worst = worst_case(template_of("claude-haiku-5-5"))
    shorter, longer = worst.of_request(text_bytes), worst.of_request(text_bytes + more)
    assert shorter is not None
    assert longer is not None
    assert shorter <= longer


def test_the_worst_case_is_exactly_this() -> None:
    """(400 + 600) / 2 + 600 = 1,100 tokens at 0.10 a million (written to the cache: 0.20), 1,000 at 0.50, halved."""
    worst = WorstCase(price_book(), "claude-haiku-5-5", 400, 1_000, NOW)
    assert worst.of_request(600) == Decimal("0.000305000000")
    cached = WorstCase(price_book(), "claude-haiku-5-5", 400, 1_000, NOW, is_cached=True)
    assert cached.of_request(600) == Decimal("0.000360000000")
    in_the_us = WorstCase(price_book(), "claude-haiku-5-5", 400, 1_000, NOW, is_us_inference=True, is_cached=True)
    assert in_the_us.of_request(600) == Decimal("0.000396000000")


def test_another_sellers_price_is_not_taken() -> None:
    worst = WorstCase(price_book(), "claude-haiku-4-5", 400, 16, NOW, price_provider="nobody")
    assert worst.of_request(600) is None


def test_a_model_without_a_price_has_no_worst_case() -> None:
    assert worst_case(template_of("claude-of-tomorrow-9")).of_request(10) is None


COSTS = [Decimal("0.25"), Decimal("0.50"), Decimal("0.25")]


@pytest.mark.parametrize(
    ("room", "count"),
    [("-1", 0), ("0", 0), ("0.249999999999", 0), ("0.25", 1), ("0.74", 1), ("0.75", 2), ("1.00", 3), ("9", 3)],
)
def test_as_many_are_affordable_as_fit_exactly(room: str, count: int) -> None:
    assert affordable(COSTS, Decimal(room)) == count


def test_nothing_is_always_affordable() -> None:
    assert affordable([], Decimal(-1)) == 0


@given(st.lists(st.decimals(0, 10, places=12)), st.decimals(0, 50, places=12))
def test_what_is_affordable_fits_and_one_more_would_not(costs: list[Decimal], room: Decimal) -> None:
    count = affordable(costs, room)
    assert sum(costs[:count]) <= room
    if count < len(costs):
        assert sum(costs[: count + 1]) > room
