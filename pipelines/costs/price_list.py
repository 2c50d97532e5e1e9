"""Every row of the price book as a person is shown it: whose it is, whence, and what it stands in place of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from pipelines.costs.price_book import PriceBook, Row

Kind = Literal["claude", "fast", "hosted"]
KINDS: tuple[Kind, ...] = ("claude", "fast", "hosted")
_FIELDS: dict[Kind, str] = {"claude": "price", "fast": "fast", "hosted": "hosted"}


@dataclass(frozen=True)
class ListedPrice:
    """One row of `pipeline prices`."""

    kind: Kind
    row: Row
    is_own: bool
    source: str
    checked_on: date | None  # None: nobody but the user knows
    replaces: Row | None = None  # of a user's row, the row of the book that it stands in place of
    is_replaced: bool = False  # of a row of the book


def price_list(book: PriceBook, at: datetime) -> Iterator[ListedPrice]:
    """The user's own rows and the book's, by kind."""
    day = at.astimezone(UTC).date()
    for kind in KINDS:
        own: tuple[Row, ...] = getattr(book.own, _FIELDS[kind])
        shipped: tuple[Row, ...] = getattr(book, _FIELDS[kind])
        for row in own:
            same = [each for each in shipped if _of(each) == _of(row) and row.valid_from <= day]
            step = [each for each in same if each.prompt_tokens_above == row.prompt_tokens_above] or same
            file = book.own_file.path if book.own_file else ""
            source = f"{file}: {row.source}" if row.source else file
            yield ListedPrice(kind, row, True, source, row.checked_on, replaces=step[-1] if step else None)
        taken = {_of(row) for row in own if row.valid_from <= day}
        for row in shipped:
            source, checked_on = row.source or book.source.address, row.checked_on or book.source.checked_on
            yield ListedPrice(kind, row, False, source, checked_on, is_replaced=_of(row) in taken)


def _of(row: Row) -> tuple[str, str]:
    return row.provider, row.model
