"""The price book: which row is in force, what a request in a message batch costs, and a second source."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from pipelines.costs.price_book import HostedPrice, Price, PriceBook, TokenUsage, price_book

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MILLION = 1_000_000


def usage(
    input: int = 0, write_5m: int = 0, write_1h: int = 0, read: int = 0, output: int = 0, us: bool = False
) -> TokenUsage:
    return TokenUsage(input, write_5m, write_1h, read, output, us)


def cost(model: str, used: TokenUsage, at: datetime = NOW) -> Decimal | None:
    return price_book().batch_cost(model, used, at)


def test_a_message_batch_costs_half_of_the_list_price() -> None:
    used = usage(input=1_000, write_5m=200, write_1h=100, read=3_000, output=50)
    per_million = 1_000 * 3 + 200 * Decimal("3.75") + 100 * 6 + 3_000 * Decimal("0.3") + 50 * 15
    assert cost("claude-sonnet-4-6", used) == per_million / MILLION / 2


def test_cached_tokens_have_prices_of_their_own() -> None:
    assert cost("claude-haiku-5-5", usage(input=1_000)) == Decimal("0.00005")
    assert cost("claude-haiku-5-5", usage(write_5m=1_000)) == Decimal("0.0000625")
    assert cost("claude-haiku-5-5", usage(write_1h=1_000)) == Decimal("0.0001")
    assert cost("claude-haiku-5-5", usage(read=1_000)) == Decimal("0.000005")
    assert cost("claude-haiku-5-5", usage(output=1_000)) == Decimal("0.00025")
    assert cost("claude-haiku-5-5", usage()) == 0


def test_inference_in_the_us_costs_a_tenth_more() -> None:
    plain, us = (
        cost("claude-opus-5-5", usage(input=100, output=7)),
        cost("claude-opus-5-5", usage(100, output=7, us=True)),
    )
    assert plain is not None
    assert us == plain * Decimal("1.1")


def test_a_prompt_over_a_hundred_thousand_tokens_moves_the_whole_request_to_the_next_step() -> None:
    assert cost("claude-haiku-5-5", usage(input=100_000)) == Decimal("0.005")
    assert cost("claude-haiku-5-5", usage(input=100_001)) == 100_001 * Decimal("0.5") / MILLION / 2
    # The cached part counts towards the step, the output does not.
    assert cost("claude-haiku-5-5", usage(input=1, read=100_000)) == (
        (Decimal("0.5") + 100_000 * Decimal("0.05")) / MILLION / 2
    )
    assert cost("claude-haiku-5-5", usage(input=100_000, output=50_000)) == Decimal("0.005") + Decimal("0.0125")


def test_dated_ids_are_priced_as_their_model() -> None:
    assert cost("claude-haiku-4-5-20251001", usage(input=7)) == cost("claude-haiku-4-5", usage(input=7)) is not None


@pytest.mark.parametrize(
    "model", ["claude-haiku-9", "claude-haiku", "gpt-5", "", "claude-haiku-4-5-2025100", "20251001"]
)
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert cost(model, usage(input=1)) is None


def test_a_day_before_the_price_is_known_to_hold_has_no_price() -> None:
    assert cost("claude-haiku-5-5", usage(input=1), datetime(2026, 10, 6, 23, 59, tzinfo=UTC)) is None
    assert cost("claude-haiku-5-5", usage(input=1), datetime(2026, 10, 7, tzinfo=UTC)) is not None
    east = timezone(timedelta(hours=9))  # already the 7th there, still the 6th in UTC
    assert cost("claude-haiku-5-5", usage(input=1), datetime(2026, 10, 7, 8, tzinfo=east)) is None


def test_another_provider_has_no_price() -> None:
    assert price_book().find("claude-haiku-5-5", NOW, provider="bedrock") is None


def row(valid_from: str, input: str, above: int = 0) -> Price:
    prices = dict.fromkeys(("cache_write_5m", "cache_write_1h", "cache_read", "output"), Decimal(0))
    return Price.model_validate(
        {
            **prices,
            "provider": "anthropic",
            "model": "claude-x",
            "valid_from": valid_from,
            "prompt_tokens_above": above,
            "input": input,
        }
    )


def test_the_latest_price_list_decides_and_within_it_the_highest_step() -> None:
    book = PriceBook.model_validate(
        {
            "source": {"address": "", "checked_on": "2027-01-01"},
            "rules": {"batch_factor": "0.5", "us_inference_factor": "1.1"},
            "price": [
                row("2026-01-01", "1"),
                row("2026-01-01", "2", above=10),
                row("2026-01-01", "3", above=20),
                row("2026-06-01", "4"),  # a list without steps
            ],
        }
    )

    def found(day: datetime, prompt: int) -> Decimal | None:
        price = book.find("claude-x", day, prompt)
        return price and price.input

    spring, summer = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    assert [found(spring, prompt) for prompt in (10, 11, 20, 21)] == [1, 2, 2, 3]
    assert [found(summer, prompt) for prompt in (10, 11, 21)] == [4, 4, 4]
    assert found(datetime(2025, 12, 31, tzinfo=UTC), 0) is None
    assert book.version == "2027-01-01/4 rows"


def second_source(model: str, used: TokenUsage, context: dict[str, str] | None) -> Decimal:
    return calc_price(
        Usage(
            input_tokens=used.prompt,  # theirs includes the cached part
            cache_write_tokens=used.cache_write_5m,
            cache_read_tokens=used.cache_read,
            output_tokens=used.output,
        ),
        model,
        provider_id="anthropic",
        genai_request_timestamp=NOW,
        price_context=context,
    ).total_price


ROWS = price_book().price


@pytest.mark.parametrize("price", ROWS, ids=[f"{row.model}-{row.prompt_tokens_above}" for row in ROWS])
def test_every_row_agrees_with_genai_prices(price: Price) -> None:
    step = price.prompt_tokens_above
    for used in (
        usage(input=step + 1_001, output=53),
        usage(input=step + 7, write_5m=2_000, output=1),
        usage(input=step + 7, read=3_000, output=1),
    ):
        ours = cost(price.model, used)
        assert ours == second_source(price.model, used, {"processing": "batch"})
        # Theirs gives the full price for a context it does not know, silently: half must be half.
        assert ours is not None
        assert ours * 2 == second_source(price.model, used, None)


def test_every_row_is_a_price_of_its_own_and_caching_follows_the_published_multiples() -> None:
    keys = [(row.provider, row.model, row.valid_from, row.prompt_tokens_above) for row in ROWS]
    assert len(set(keys)) == len(keys)
    for price in ROWS:
        assert price.cache_write_5m == price.input * Decimal("1.25")
        assert price.cache_write_1h == price.input * 2
        assert price.cache_read <= price.input / 10
        assert price.output == price.input * 5


HOSTED = [row for row in price_book().hosted if row.provider == "openrouter"]
# What OpenRouter calls a model by the day of its release.
DATED = {"qwen3.5-flash": "qwen3.5-flash-02-23", "qwen3.5-plus": "qwen3.5-plus-02-15"}


@pytest.mark.parametrize("price", HOSTED, ids=[row.model for row in HOSTED])
def test_every_hosted_row_of_openrouter_agrees_with_genai_prices(price: HostedPrice) -> None:
    theirs = calc_price(
        Usage(input_tokens=1_001, output_tokens=53),
        f"qwen/{DATED.get(price.model, price.model)}",
        provider_id="openrouter",
        genai_request_timestamp=NOW,
    ).total_price
    assert theirs == (1_001 * price.input + 53 * price.output) / MILLION
