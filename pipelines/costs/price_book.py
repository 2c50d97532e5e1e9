"""What tokens cost, by model and day: Claude's, and of hosted models to compare with.

Prices come from prices.toml beside this file, and from a file of the user's own, whose rows go before those of the
book. A model or day that neither holds has no price: the answer is None, never zero and never a guess.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from pipelines.costs.own_prices import OwnFile, read_own_file
from pipelines.settings import settings

_PER_MILLION = Decimal(1_000_000)
_Usd = Annotated[Decimal, Field(ge=0, le=100_000)]


class TokenUsage(NamedTuple):
    """Tokens of one request as Claude's `usage` reports them; ``input`` is the uncached part only."""

    input: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    output: int
    is_us_inference: bool = False

    @property
    def prompt(self) -> int:
        """The whole prompt: it decides which price step applies."""
        return self.input + self.cache_write_5m + self.cache_write_1h + self.cache_read


class Row(BaseModel):
    """What every row says: US dollars per million tokens at list price."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    model: str
    valid_from: date
    prompt_tokens_above: int = 0
    input: _Usd
    output: _Usd
    source: str | None = None  # where it is not the book's
    checked_on: date | None = None


class Price(Row):
    """One row of the list of Claude's prices."""

    cache_write_5m: _Usd
    cache_write_1h: _Usd
    cache_read: _Usd


class FastPrice(Row):
    """Claude's fast mode: never in a message batch."""

    valid_before: date | None = None


class HostedPrice(Row):
    """A model that somebody else runs, request by request."""

    prompt_tokens_up_to: int | None = None  # the price of longer prompts is not known


class NotInTheBook(BaseModel):
    """A model that people ask about, and whose price nobody has looked up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str


class _Source(BaseModel):
    address: str
    checked_on: date


class _Rules(BaseModel):
    batch_factor: Decimal
    us_inference_factor: Decimal


class Tokenizers(BaseModel):
    """How the token counts of Claude's models compare."""

    model_config = ConfigDict(frozen=True)

    newer_per_older: Decimal = Decimal(1)
    older_models: frozenset[str] = frozenset()

    def is_older(self, model: str) -> bool:
        """Whether the model makes the fewer tokens of a text."""
        return _undated(model) in self.older_models


class _GpuPrice(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    hour_usd: _Usd


class OwnPrices(BaseModel):
    """The user's own file: rows as in the book."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    price: tuple[Price, ...] = ()
    fast: tuple[FastPrice, ...] = ()
    hosted: tuple[HostedPrice, ...] = ()
    gpu: _GpuPrice | None = None


_AnyRow = TypeVar("_AnyRow", bound=Row)


class PriceBook(BaseModel):
    """Every price known, and the rules that apply to all."""

    model_config = ConfigDict(frozen=True)

    source: _Source
    rules: _Rules
    price: tuple[Price, ...]
    fast: tuple[FastPrice, ...] = ()
    hosted: tuple[HostedPrice, ...] = ()
    not_in_the_book: tuple[NotInTheBook, ...] = ()
    tokens: Tokenizers = Tokenizers()
    own: OwnPrices = OwnPrices()
    own_file: OwnFile | None = None

    @property
    def version(self) -> str:
        """Names this state of the book in a run's record."""
        own = f" + {self.own_file.path} ({self.own_file.digest})" if self.own_file else ""
        return f"{self.source.checked_on.isoformat()}/{len(self.price)} rows{own}"

    def find(self, model: str, at: datetime, prompt_tokens: int = 0, provider: str = "anthropic") -> Price | None:
        """The row in force: latest ``valid_from`` not after ``at``, then the highest step below the prompt."""
        key = (provider, _undated(model))
        return _in_force(self.own.price, key, at, prompt_tokens) or _in_force(self.price, key, at, prompt_tokens)

    def find_fast(self, model: str, at: datetime, provider: str = "anthropic") -> FastPrice | None:
        """Price of a model's fast mode on a day; None where the book has none that is in force."""
        key = (provider, _undated(model))
        found = _in_force(self.own.fast, key, at, 0) or _in_force(self.fast, key, at, 0)
        is_over = found and found.valid_before and found.valid_before <= at.astimezone(UTC).date()
        return None if is_over else found

    def find_hosted(self, provider: str, model: str, at: datetime, prompt_tokens: int = 0) -> HostedPrice | None:
        """The same of a hosted model."""
        key = (provider, model)
        found = _in_force(self.own.hosted, key, at, prompt_tokens) or _in_force(self.hosted, key, at, prompt_tokens)
        is_too_long = found and found.prompt_tokens_up_to and prompt_tokens > found.prompt_tokens_up_to
        return None if is_too_long else found

    def is_own(self, row: Row) -> bool:
        """Whether the row is of the user's own file."""
        return any(row is each for each in (*self.own.price, *self.own.fast, *self.own.hosted))

    def batch_cost(self, model: str, usage: TokenUsage, at: datetime, provider: str = "anthropic") -> Decimal | None:
        """US dollars of one request in a message batch, unrounded; None where the price is unknown."""
        row = self.find(model, at, usage.prompt, provider)
        if row is None:
            return None
        full = (
            usage.input * row.input
            + usage.cache_write_5m * row.cache_write_5m
            + usage.cache_write_1h * row.cache_write_1h
            + usage.cache_read * row.cache_read
            + usage.output * row.output
        )
        factor = self.rules.batch_factor * (self.rules.us_inference_factor if usage.is_us_inference else 1)
        return full * factor / _PER_MILLION


def _in_force(rows: Sequence[_AnyRow], key: tuple[str, str], at: datetime, prompt_tokens: int) -> _AnyRow | None:
    day = at.astimezone(UTC).date()
    found = [
        row
        for row in rows
        if (row.provider, row.model) == key
        and row.valid_from <= day
        and (row.prompt_tokens_above == 0 or prompt_tokens > row.prompt_tokens_above)
    ]
    return max(found, key=lambda row: (row.valid_from, row.prompt_tokens_above), default=None)


def _undated(model: str) -> str:
    """`claude-haiku-4-5-20251001` is priced as `claude-haiku-4-5`."""
    stem, _, tail = model.rpartition("-")
    return stem if len(tail) == 8 and tail.isdigit() else model


@lru_cache
def price_book() -> PriceBook:
    """The book shipped with this version, and the prices of the user's own.

    Raises:
        JobError: the user's file is wrong, or is not there.
    """
    text = resources.files("pipelines.costs").joinpath("prices.toml").read_text(encoding="utf-8")
    book = PriceBook.model_validate(tomllib.loads(text))
    path = settings().prices
    if path is None:
        return book
    own, file = read_own_file(path, OwnPrices)
    return book.model_copy(update={"own": own, "own_file": file})
