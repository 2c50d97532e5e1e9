"""A user's own prices.toml: read exactly, put before the book, refused with the line of every mistake."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.costs.comparison import RunFigures, Tokens, compare
from pipelines.costs.price_book import PriceBook, TokenUsage, price_book
from pipelines.costs.price_list import price_list
from pipelines.errors import JobError
from pipelines.settings import settings

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ARTICLE = Path(__file__).with_name("article_prices.toml")
HOSTED = """[[hosted]]
provider = "acme"
model = "qwen3.5-9b"
valid_from = 2026-11-01
input = 0.03
output = 0.09
"""


@pytest.fixture(autouse=True)
def fresh_book() -> Iterator[None]:
    yield
    settings.cache_clear()
    price_book.cache_clear()


def book_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> PriceBook:
    monkeypatch.setenv("SLUICE_PRICES", str(path))
    settings.cache_clear()
    price_book.cache_clear()
    return price_book()


def problems_of(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    path = folder / "prices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JobError) as refused:
        book_of(path, monkeypatch)
    return refused.value.problems


def test_the_article_s_table_comes_out_of_its_own_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 million tokens read and 2 million written: 1.80, 3.24, 60 and 100 USD."""
    tokens = Tokens(1_000, 10_000_000, 0, 2_000_000)
    run = RunFigures(
        documents=1_000,
        failed=0,
        withheld=0,
        engine={0: tokens},
        claude={(True, 0): tokens},
        gpu_seconds=Decimal(1),
        held_seconds=Decimal(1),
        gpu_cost_usd=None,
        api_cost_usd=None,
        cost_usd=None,
        device_hour_usd=None,
    )
    compared = compare(run, book_of(ARTICLE, monkeypatch), datetime(2026, 3, 1, tzinfo=UTC))
    # Of that day the article's prices alone are known.
    assert {each.model: each.usd["live"] for each in compared.offers if each.usd} == {
        "qwen3.5-flash": Decimal("1.80"),
        "qwen3.5-plus": Decimal("3.24"),
        "claude-sonnet-4-6": Decimal("60"),
        "claude-opus-4-6": Decimal("100"),
    }


def test_a_row_of_ones_own_prices_what_the_book_would_from_its_day_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(
        ARTICLE.read_text()
        + '[[price]]\nprovider = "anthropic"\nmodel = "claude-haiku-5-5"\nvalid_from = 2026-11-20\ninput = 0.08\n'
        + "cache_write_5m = 0.1\ncache_write_1h = 0.16\ncache_read = 0.008\noutput = 0.4\n"
    )
    before = price_book().version
    book = book_of(path, monkeypatch)
    million = TokenUsage(1_000_000, 0, 0, 0, 0)
    assert book.batch_cost("claude-haiku-5-5", million, NOW) == Decimal("0.04"), "at any length of the prompt"
    assert book.batch_cost("claude-haiku-5-5", TokenUsage(1_000, 0, 0, 0, 0), datetime(2026, 11, 19, tzinfo=UTC)) == (
        Decimal("0.00005")
    )
    assert book.version.startswith(f"{before} + {path} (")
    listed = [each for each in price_list(book, NOW) if each.row.model == "claude-haiku-5-5"]
    assert [(each.is_own, each.is_replaced) for each in listed] == [(True, False), (False, True), (False, True)]
    assert listed[0].replaces is listed[1].row
    assert listed[0].source == str(path)


def test_numbers_are_read_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(HOSTED + "\n[gpu]\nhour_usd = 2.1\n")
    book = book_of(path, monkeypatch)
    assert book.own.hosted[0].input == Decimal("0.03")
    assert book.own.gpu
    assert book.own.gpu.hour_usd == Decimal("2.1")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("input = 0.03", 'input = "0,03"'), "line 5: hosted.input: input should be a valid decimal"),
        (("input = 0.03", "input = -1"), "line 5: hosted.input: input should be greater than or equal to 0"),
        (("input = 0.03", "input = nan"), "line 5: hosted.input: input should be a finite number"),
        (("input = 0.03\n", ""), "line 1: hosted.input: missing"),
        (("output", "outputs"), "line 6: hosted.outputs: no such field; prices.toml in pipelines/costs has rows"),
        (("2026-11-01", '"November"'), "line 4: hosted.valid_from: input should be a valid date"),
        (("[[hosted]]", "[[hostd]]"), "line 1: hostd: no such table; there are price, fast, hosted, gpu"),
        (("[[hosted]]", "[hosted]"), "line 1: hosted"),
        (("0.09", "0.09\n[gpu]\nhour = 1"), "line 8: gpu.hour: no such field"),
        (("0.09", f"0.09\n{HOSTED}"), "line 7: hosted: qwen3.5-9b is there twice; remove one"),
        (("0.09", "0.09.1"), "not TOML: Expected newline or end of document after a statement (at line 6"),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_field(
    change: tuple[str, str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = problems_of(HOSTED.replace(*change), tmp_path, monkeypatch)
    assert any(problem in each for each in found), found


def test_the_line_is_that_of_the_row_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = HOSTED.replace("qwen3.5-9b", "other").replace("0.09", '"dear"')
    assert problems_of(f"{HOSTED}\n{second}", tmp_path, monkeypatch) == [
        "line 13: hosted.output: input should be a valid decimal"
    ]


def test_a_file_that_is_not_there_is_told_with_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match=r"SLUICE_PRICES: .*none\.toml cannot be read \(No such file or directory\)"):
        book_of(tmp_path / "none.toml", monkeypatch)
