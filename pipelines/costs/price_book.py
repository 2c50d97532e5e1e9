"""What Claude's tokens cost, by model and day.

Prices come from prices.toml beside this file. A model or day that it does not hold has no price: the answer is
None, never zero and never a guess.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

_PER_MILLION = Decimal(1_000_000)


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


class Price(BaseModel):
    """One row: US dollars per million tokens at list price."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    model: str
    valid_from: date
    prompt_tokens_above: int = 0
    input: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    cache_read: Decimal
    output: Decimal


class _Source(BaseModel):
    address: str
    checked_on: date


class _Rules(BaseModel):
    batch_factor: Decimal
    us_inference_factor: Decimal


class PriceBook(BaseModel):
    """Every price known, and the rules that apply to all."""

    model_config = ConfigDict(frozen=True)

    source: _Source
    rules: _Rules
    price: tuple[Price, ...]

    @property
    def version(self) -> str:
        """Names this state of the book in a run's record."""
        return f"{self.source.checked_on.isoformat()}/{len(self.price)} rows"

    def find(self, model: str, at: datetime, prompt_tokens: int = 0, provider: str = "anthropic") -> Price | None:
        """The row in force: latest ``valid_from`` not after ``at``, then the highest step below the prompt."""
        day = at.astimezone(UTC).date()
        rows = [
            row
            for row in self.price
            if (row.provider, row.model) == (provider, _undated(model))
            and row.valid_from <= day
            and (row.prompt_tokens_above == 0 or prompt_tokens > row.prompt_tokens_above)
        ]
        return max(rows, key=lambda row: (row.valid_from, row.prompt_tokens_above), default=None)

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


def _undated(model: str) -> str:
    """`claude-haiku-4-5-20251001` is priced as `claude-haiku-4-5`."""
    stem, _, tail = model.rpartition("-")
    return stem if len(tail) == 8 and tail.isdigit() else model


@lru_cache
def price_book() -> PriceBook:
    """The book shipped with this version."""
    text = resources.files("pipelines.costs").joinpath("prices.toml").read_text(encoding="utf-8")
    return PriceBook.model_validate(tomllib.loads(text))
