"""What the documents of a run would have cost elsewhere, and from which volume on one's own device is cheaper."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipelines.costs.comparison import GPU_PRICE, HOURS_A_MONTH, CostComparison, Offer, RunFigures, Tokens, compare
from pipelines.costs.own_prices import OwnFile
from pipelines.costs.price_book import PriceBook, price_book
from pipelines.costs.run_figures import NEEDED_COLUMNS, FiguresTally
from pipelines.store.schemas import RESULTS
from tests.made_up_run import accepted, escalated, failed

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
BOOK = price_book()
# 1,000 documents, a tenth of which Claude was asked about; an hour of a device at 3 USD, busy for half of it.
RUN = RunFigures(
    documents=1_000,
    failed=0,
    withheld=0,
    engine={0: Tokens(1_000, 800_000, 100_000, 1_000)},
    claude={(False, 0): Tokens(100, 104_000, 0, 6_000)},
    gpu_seconds=Decimal(1_800),
    held_seconds=Decimal(3_600),
    gpu_cost_usd=Decimal("1.5"),
    api_cost_usd=Decimal("0.0067"),
    cost_usd=Decimal("1.5067"),
    device_hour_usd=Decimal(3),
)


def offer(compared: CostComparison, model: str, provider: str | None = "anthropic") -> Offer:
    (found,) = [each for each in compared.offers if (each.model, each.provider) == (model, provider)]
    return found


def compared(**changes: Any) -> CostComparison:
    return compare(replace(RUN, **changes), BOOK, NOW)


def test_claude_for_all_is_what_the_asked_documents_read_and_wrote_at_each_price() -> None:
    haiku = offer(compared(), "claude-haiku-5-5")
    # The example of the price page: 1,040 read and 60 written.
    assert haiku.usd["batch"] == 1_000 * Decimal("0.000067")
    assert haiku.usd["live"] == 2 * haiku.usd["batch"]
    assert "fast" not in haiku.usd
    opus = offer(compared(), "claude-opus-5-5")
    assert opus.usd["fast"] == 1_000 * (1_040 * Decimal(8) + 60 * Decimal(40)) / 1_000_000
    assert compared().per_million(haiku.usd["batch"]) == 67


def test_a_model_with_the_older_tokenizer_reads_fewer_tokens_of_the_same_text_and_the_other_way_round() -> None:
    haiku = offer(compared(), "claude-haiku-4-5").usd["live"]
    assert round(haiku, 9) == round((1_040_000 + 60_000 * 5) / Decimal("1.3") / 1_000_000, 9)
    turned = compared(claude={(True, 0): Tokens(100, 104_000, 0, 6_000)})
    assert offer(turned, "claude-haiku-4-5").usd["live"] == (1_040_000 + 60_000 * 5) / Decimal(1_000_000)
    assert offer(turned, "claude-haiku-5-5").usd["batch"] == 1_000 * Decimal("0.000067") * Decimal("1.3")


def test_what_was_read_from_the_cache_keeps_its_price() -> None:
    cached = compared(claude={(False, 0): Tokens(100, 104_000, 100_000, 6_000)})
    spent = (4_000 * Decimal("0.1") + 100_000 * Decimal("0.01") + 6_000 * Decimal("0.5")) * 10 / 1_000_000
    assert offer(cached, "claude-haiku-5-5").usd["live"] == spent


def test_long_prompts_are_priced_by_their_step() -> None:
    long = compared(claude={(False, 0): Tokens(99, 99_000, 0, 0), (False, 100_000): Tokens(1, 200_000, 0, 0)})
    spent = (99_000 * Decimal("0.1") + 200_000 * Decimal("0.5")) * 10 / 1_000_000
    assert offer(long, "claude-haiku-5-5").usd["live"] == spent


def test_inference_in_the_us_costs_a_tenth_more_of_claude_and_nothing_else() -> None:
    plain, us = compared(), compared(is_us_inference=True)
    for model, provider, factor in (("claude-haiku-5-5", "anthropic", Decimal("1.1")), ("qwen3.5-plus", "alibaba", 1)):
        assert offer(us, model, provider).usd["live"] == offer(plain, model, provider).usd["live"] * factor


def test_hosted_models_read_and_write_what_the_engine_did() -> None:
    flash = offer(compared(), "qwen3.5-flash", "alibaba")
    assert flash.usd == {"live": (800_000 * Decimal("0.10") + 1_000 * Decimal("0.40")) / 1_000_000}


def test_where_lines_cross() -> None:
    shown = compared()
    assert shown.documents_a_gpu_hour == 2_000
    assert shown.reserved_usd == 3
    assert shown.reserved_run_usd == Decimal("3.0067")
    haiku = offer(shown, "claude-haiku-5-5")
    assert haiku.engine_alone
    assert round(haiku.engine_alone.documents_an_hour) == 44_776  # 3 / 0.000067
    assert not haiku.engine_alone.is_reachable  # 22 devices' worth
    fable = offer(shown, "claude-fable-5")
    each = fable.usd["batch"] / 1_000
    for crossing, spared in ((fable.engine_alone, each), (fable.engine_and_claude, each - Decimal("0.0000067"))):
        assert crossing
        assert round(crossing.documents_an_hour, 12) == round(3 / spared, 12)
        assert crossing.documents_a_month == crossing.documents_an_hour * HOURS_A_MONTH
        assert crossing.use_of_gpu == crossing.documents_an_hour / 2_000
        assert crossing.is_reachable


def test_a_device_never_pays_against_what_costs_less_than_the_claude_part_alone() -> None:
    dear = compared(api_cost_usd=Decimal(2))
    haiku = offer(dear, "claude-haiku-5-5")
    assert haiku.engine_alone is not None
    assert haiku.engine_and_claude is None


def test_failed_documents_cost_nothing_anywhere_and_count_among_the_million() -> None:
    half = compared(documents=2_000, failed=1_000)
    assert half.per_million(offer(half, "claude-haiku-5-5").usd["batch"]) == Decimal("33.5")


def test_without_a_gpu_price_nothing_that_needs_one_is_shown_and_the_rest_is() -> None:
    shown = compared(device_hour_usd=None, gpu_cost_usd=None, cost_usd=None)
    assert (shown.gpu_hour_usd, shown.reserved_usd, shown.per_million(shown.figures.cost_usd)) == (None, None, None)
    haiku = offer(shown, "claude-haiku-5-5")
    assert haiku.usd["batch"] > 0
    assert (haiku.engine_alone, haiku.engine_and_claude) == (None, None)
    assert "compute.device_hour_usd" in GPU_PRICE and "SLUICE_PRICES" in GPU_PRICE


def test_engines_that_were_held_for_less_than_they_were_busy_have_no_known_price() -> None:
    assert compared(held_seconds=Decimal(1_799)).reserved_usd is None


def test_a_price_that_the_book_lacks_is_named_and_never_zero() -> None:
    missing = offer(compared(), "qwen3.5-4b", None)
    assert (missing.usd, missing.missing, missing.engine_alone) == ({}, "not in the book", None)
    early = compare(RUN, BOOK, datetime(2026, 9, 30, tzinfo=UTC))
    assert offer(early, "claude-haiku-5-5").missing == "no row in force on 2026-09-30"
    assert offer(early, "claude-opus-5-5").usd
    long = compared(engine={128_000: Tokens(1, 130_000, 0, 1)})
    flash = offer(long, "qwen3.5-flash", "alibaba")
    assert flash.missing == "no row in force on 2026-11-27 for prompts of more than 128,000 tokens"
    assert flash.usd == {}


def test_without_a_question_to_claude_its_tokens_are_estimated_and_that_is_said() -> None:
    alone = compared(claude={}, api_cost_usd=Decimal(0))
    assert offer(alone, "claude-haiku-5-5").usd["batch"] == 1_000 * Decimal("0.000067")
    assert alone.assumptions[0].startswith("Claude's tokens: estimated, as Claude was asked about nothing here")
    measured = compared().assumptions[0]
    assert measured.startswith(
        "Claude's tokens: measured on the 100 documents it was asked about here (1,040 read and 60"
    )
    assert compared(is_simulated=True).assumptions[0].startswith("Claude's tokens: simulated for the 100")


@pytest.mark.parametrize("changes", [{"documents": 0}, {"documents": 3, "failed": 3}])
def test_a_run_that_answered_nothing_compares_with_nothing(changes: dict[str, int]) -> None:
    empty = compared(**changes, engine={}, claude={}, gpu_seconds=Decimal(0), held_seconds=Decimal(0))
    assert all(each.usd == {} and each.missing for each in empty.offers)
    assert (empty.documents_a_gpu_hour, empty.asked_share if not changes.get("failed") else None) == (None, None)


def test_a_run_without_an_engine_compares_with_claude_alone() -> None:
    shown = compared(engine={}, gpu_seconds=Decimal(0), held_seconds=Decimal(0), gpu_cost_usd=Decimal(0))
    assert offer(shown, "claude-haiku-5-5").usd
    assert offer(shown, "qwen3.5-flash", "alibaba").missing == "no engine counted tokens here"


def own_book(**content: Any) -> PriceBook:
    own = BOOK.own.model_validate(content)
    return BOOK.model_copy(update={"own": own, "own_file": OwnFile("prices.toml", "0123")})


def test_prices_of_ones_own_go_before_those_of_the_book_from_their_day_on() -> None:
    hosted = {"provider": "acme", "model": "qwen3.5-4b", "valid_from": "2026-11-01", "input": "0.03", "output": "0.09"}
    claude = {
        "provider": "anthropic",
        "model": "claude-haiku-5-5",
        "valid_from": "2026-01-01",
        "input": "0.08",
        "output": "0.40",
        "cache_write_5m": "0.1",
        "cache_write_1h": "0.16",
        "cache_read": "0.008",
    }
    book = own_book(hosted=[hosted], price=[claude], gpu={"hour_usd": "2.00"})
    shown = compare(RUN, book, NOW)
    assert (
        offer(shown, "claude-haiku-5-5").usd["live"] == (1_040_000 * Decimal("0.08") + 60_000 * Decimal("0.4")) / 10**6
    )
    assert offer(shown, "qwen3.5-4b", "acme").usd["live"] == (800_000 * Decimal("0.03") + 90) / 10**6
    assert "qwen3.5-4b" not in [each.model for each in shown.offers if each.missing]
    assert (shown.gpu_hour_usd, shown.reserved_usd) == (Decimal(2), Decimal(2))
    assert shown.figures.gpu_cost_usd == Decimal("1.5"), "what was paid stays paid"
    later = own_book(price=[claude | {"valid_from": "2026-12-01"}])
    assert offer(compare(RUN, later, NOW), "claude-haiku-5-5").usd == offer(compared(), "claude-haiku-5-5").usd


def tally(*rows: dict[str, Any]) -> RunFigures:
    counted = FiguresTally(BOOK)
    for start in range(0, len(rows), 2):
        counted.add(pa.Table.from_pylist(list(rows[start : start + 2]), RESULTS).select(NEEDED_COLUMNS))
    return counted.figures(held_seconds=10.0, device_hour_usd=Decimal(1), is_us_inference=False, is_simulated=False)


def test_figures_are_added_up_from_rows_by_price_step_and_tokenizer() -> None:
    figures = tally(
        accepted(1, input_tokens=100_000, cached_tokens=None),
        accepted(2, input_tokens=100_001, output_tokens=7),
        escalated(3, model="claude-haiku-4-5-20251001 (simulation)", api_input_tokens=100_001, api_output_tokens=3),
        escalated(4, route="review", model=None),
        failed(5),
        accepted(6, route="withheld"),
    )
    assert (figures.documents, figures.failed, figures.withheld, figures.answerable) == (6, 1, 1, 5)
    assert figures.engine[0].documents == 4
    assert figures.engine[100_000] == Tokens(1, 100_001, 96, 7)
    assert figures.claude == {(True, 100_000): Tokens(1, 100_001, 0, 3), (False, 0): Tokens(1, 472, 0, 70)}
    assert figures.gpu_seconds == 5 * Decimal("0.001777")


def test_an_unknown_cost_of_one_row_makes_the_sum_unknown() -> None:
    figures = tally(accepted(1), accepted(2, gpu_cost_usd=None, cost_usd=None), accepted(3))
    assert (figures.gpu_cost_usd, figures.cost_usd, figures.api_cost_usd) == (None, None, 0)
