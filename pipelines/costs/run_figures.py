"""What a run measured, added up from its result rows, part by part: tokens by price step, engine time, money."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.costs.accounting import add_known, sum_money
from pipelines.costs.comparison import RunFigures, Tokens
from pipelines.costs.price_book import PriceBook
from pipelines.routes import Route

_MONEY = ("gpu_cost_usd", "api_cost_usd", "cost_usd", "first_tier_cost_usd")
_ENGINE = ("input_tokens", "cached_tokens", "output_tokens")
_CLAUDE = ("api_input_tokens", "api_cached_tokens", "api_output_tokens")
NEEDED_COLUMNS = ["route", "model", *_ENGINE, *_CLAUDE, "gpu_seconds", *_MONEY]
_SIMULATED = " (simulation)"


class FiguresTally:
    """Adds up tokens, documents and costs over result tables, one at a time."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        claude, hosted = (*book.price, *book.own.price), (*book.hosted, *book.own.hosted)
        steps = {row.prompt_tokens_above for row in (*claude, *hosted)}
        steps |= {row.prompt_tokens_up_to for row in hosted if row.prompt_tokens_up_to}
        self._steps = np.array(sorted({0, *steps}), dtype=np.int64)
        self._engine: dict[int, Tokens] = {}
        self._claude: dict[tuple[bool, int], Tokens] = {}
        self._documents, self._failed, self._withheld = 0, 0, 0
        self._gpu_seconds = 0.0
        self._money: dict[str, list[Decimal | None]] = {name: [] for name in _MONEY}

    def add(self, table: pa.Table) -> None:
        """Count the rows of one part."""
        self._documents += len(table)
        self._failed += _count(table, Route.FAILED)
        self._withheld += _count(table, Route.WITHHELD)
        self._gpu_seconds += pc.sum(table["gpu_seconds"]).as_py() or 0.0
        for name in _MONEY:
            # A part that an earlier version wrote has not all of them.
            self._money[name].append(sum_money(table[name]) if name in table.column_names else None)
        for step, tokens in self._by_step(table, _ENGINE):
            self._engine[step] = self._engine.get(step, Tokens()).plus(tokens)
        asked = table.filter(pc.is_valid(table["api_input_tokens"]))
        names = [name for name in pc.unique(asked["model"]).to_pylist() if name and self._is_older(name)]
        is_older = pc.is_in(asked["model"], value_set=pa.array(names, pa.string())).to_numpy().astype(bool)
        for older, rows in ((True, asked.filter(is_older)), (False, asked.filter(~is_older))):
            for step, tokens in self._by_step(rows, _CLAUDE):
                self._claude[older, step] = self._claude.get((older, step), Tokens()).plus(tokens)

    def _is_older(self, name: str) -> bool:
        return self._book.tokens.is_older(name.removesuffix(_SIMULATED))

    def _by_step(self, table: pa.Table, names: tuple[str, str, str]) -> Iterable[tuple[int, Tokens]]:
        known = table.filter(pc.is_valid(table[names[0]]))
        if not len(known):
            return
        prompt, cached, output = (_numbers(known[name]) for name in names)
        place = np.maximum(np.searchsorted(self._steps, prompt, side="left") - 1, 0)
        for index in np.unique(place).tolist():
            here = place == index
            sums = (int(each[here].sum()) for each in (prompt, cached, output))
            yield int(self._steps[index]), Tokens(int(here.sum()), *sums)

    def figures(
        self,
        *,
        held_seconds: float,
        device_hour_usd: Decimal | None,
        is_us_inference: bool,
        is_simulated: bool,
        is_over_http: bool = False,
    ) -> RunFigures:
        """What the rows come to, with what only the run knows."""
        return RunFigures(
            documents=self._documents,
            failed=self._failed,
            withheld=self._withheld,
            engine=self._engine,
            claude=self._claude,
            gpu_seconds=_seconds(self._gpu_seconds),
            held_seconds=_seconds(held_seconds),
            gpu_cost_usd=add_known(self._money["gpu_cost_usd"]),
            api_cost_usd=add_known(self._money["api_cost_usd"]),
            cost_usd=add_known(self._money["cost_usd"]),
            device_hour_usd=device_hour_usd,
            is_us_inference=is_us_inference,
            is_simulated=is_simulated,
            is_over_http=is_over_http,
            first_tier_cost_usd=add_known(self._money["first_tier_cost_usd"]) if is_over_http else None,
        )


def _count(table: pa.Table, route: Route) -> int:
    return len(table.filter(pc.field("route") == str(route)))


def _numbers(column: Any) -> NDArray[np.int64]:  # of Arrow; its stubs know no value for `fill_null`
    return np.asarray(column.fill_null(0).to_numpy(), dtype=np.int64)


def _seconds(measured: float) -> Decimal:
    """To the nanosecond, which is what was measured."""
    return Decimal(f"{measured:.9f}")
