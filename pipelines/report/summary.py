"""What a finished run comes to: counts, accuracy where gold labels are known, and money, exact.

Read from the published rows alone, part by part, so that it says what the data set says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipelines.cascade.record import RuleRecord
from pipelines.costs.accounting import add_known, sum_money, to_money
from pipelines.documents.item_sum import ItemSum
from pipelines.errors import InvariantError
from pipelines.results import ROUTES

NEEDED_COLUMNS = [
    "item_id",
    "route",
    "answer",
    "engine_answer",
    "gold_label",
    "reason",
    "gpu_seconds",
    "gpu_cost_usd",
    "api_cost_usd",
    "cost_usd",
    "api_input_tokens",
]


class RouteSummary(BaseModel):
    """Items of one route and what they cost; a cost is null when any row's is unknown."""

    model_config = ConfigDict(frozen=True)

    items: int
    gpu_cost_usd: Decimal | None
    api_cost_usd: Decimal | None
    cost_usd: Decimal | None


class Accuracy(BaseModel):
    """Share of answers equal to the gold label, over documents with a gold label."""

    model_config = ConfigDict(frozen=True)

    engine_alone: float | None
    engine_answers: int
    final: float | None
    final_answers: int
    gold_items: int


class Summary(BaseModel):
    """summary.json."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    results: str
    items: int
    routes: dict[str, RouteSummary]
    gpu_seconds: float
    gpu_cost_usd: Decimal | None
    api_cost_usd: Decimal | None
    cost_usd: Decimal | None
    escalated_share: float
    all_claude_cost_usd: Decimal | None
    accuracy: Accuracy | None
    provider: str | None
    stopped_by: str | None
    engine_held_seconds: float
    quality: RuleRecord | None  # what a target or a budget decided; None where a threshold decided each item by itself
    warnings: list[str]
    left_out: dict[str, int] = {}  # no documents by rule: how many files, folders or commits, by reason


class Tally:
    """Adds up result tables."""

    def __init__(self) -> None:
        self._items: Counter[str] = Counter()
        self._money: dict[tuple[str, str], list[Decimal | None]] = {}
        self._gpu_seconds = 0.0
        self._gold = Counter[str]()
        self._asked_claude = 0
        self._ids = ItemSum()

    def add(self, table: pa.Table) -> None:
        """Count the rows of one part."""
        self._ids.add(table["item_id"].to_numpy().tolist())
        self._gpu_seconds += pc.sum(table["gpu_seconds"]).as_py() or 0.0
        self._asked_claude += len(table) - table["api_input_tokens"].null_count
        for route in sorted(set(table["route"].to_numpy().tolist())):
            rows = table.filter(pc.field("route") == route)
            self._items[route] += len(rows)
            for column in ("gpu_cost_usd", "api_cost_usd", "cost_usd"):
                self._money.setdefault((route, column), []).append(sum_money(rows[column]))
        for column in ("engine_answer", "answer"):
            known = table.filter(pc.and_(pc.is_valid(table["gold_label"]), pc.is_valid(table[column])))
            self._gold[column] += len(known)
            right = known.filter(pc.field(column) == pc.field("gold_label"))
            self._gold[f"right {column}"] += len(right)
        self._gold["items"] += len(table) - table["gold_label"].null_count

    def routes(self) -> dict[str, RouteSummary]:
        """Every route, also those without items."""
        return {
            route: RouteSummary(
                items=self._items[route],
                gpu_cost_usd=self._sum(route, "gpu_cost_usd"),
                api_cost_usd=self._sum(route, "api_cost_usd"),
                cost_usd=self._sum(route, "cost_usd"),
            )
            for route in ROUTES
        }

    def accuracy(self) -> Accuracy | None:
        """None where no gold label is known."""
        gold = self._gold
        if not gold["items"]:
            return None
        return Accuracy(
            engine_alone=_share(gold["right engine_answer"], gold["engine_answer"]),
            engine_answers=gold["engine_answer"],
            final=_share(gold["right answer"], gold["answer"]),
            final_answers=gold["answer"],
            gold_items=gold["items"],
        )

    def check_items(self, run_id: str, planned: str) -> None:
        """Compare the rows' items with the plan's: as many rows as items could be of other ones.

        Raises:
            InvariantError: an item has no row, or more than one.
        """
        if str(self._ids) != planned:
            raise InvariantError(
                f"run {run_id}: its rows are not those of its {sum(self._items.values())} planned items: some have "
                "none, others two. Do not use the results; please report this with the run's folder"
            )

    def _sum(self, route: str, column: str) -> Decimal | None:
        return add_known(self._money.get((route, column), []))

    def summary(
        self,
        *,
        run_id: str,
        results: str,
        planned_items: int,
        provider: str | None,
        stopped_by: str | None,
        engine_held_seconds: float,
        rule: RuleRecord | None = None,
        raw_threshold: float | None = None,
        is_calibration_refused: bool = False,
        left_out: Mapping[str, int] | None = None,
    ) -> Summary:
        """Close the books.

        Raises:
            InvariantError: the rows are not exactly the planned items.
        """
        routes = self.routes()
        items = sum(route.items for route in routes.values())
        if items != planned_items or set(self._items) - set(ROUTES):
            raise InvariantError(
                f"run {run_id}: {items} result rows for {planned_items} planned items; the run is not complete. "
                "Do not use the results; please report this with the run's folder"
            )
        parts = list(routes.values())
        api_cost = add_known(part.api_cost_usd for part in parts)
        gpu_cost = add_known(part.gpu_cost_usd for part in parts)
        scorable = items - routes["failed"].items
        is_priced = api_cost is not None and self._asked_claude
        return Summary(
            run_id=run_id,
            results=results,
            items=items,
            routes=routes,
            gpu_seconds=round(self._gpu_seconds, 9),
            gpu_cost_usd=gpu_cost,
            api_cost_usd=api_cost,
            cost_usd=add_known(part.cost_usd for part in parts),
            escalated_share=self._asked_claude / scorable if scorable else 0.0,
            all_claude_cost_usd=to_money(api_cost / self._asked_claude * scorable) if is_priced and api_cost else None,
            accuracy=self.accuracy(),
            provider=provider,
            stopped_by=stopped_by,
            engine_held_seconds=engine_held_seconds,
            quality=rule,
            left_out=dict(left_out or {}),
            warnings=[
                *_quality_warnings(raw_threshold, is_calibration_refused),
                *_cost_warnings(gpu_cost, api_cost),
            ],
        )


def summarize(tables: Iterable[pa.Table]) -> Tally:
    """A tally of all parts."""
    tally = Tally()
    for table in tables:
        tally.add(table)
    return tally


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _quality_warnings(raw_threshold: float | None, is_calibration_refused: bool) -> list[str]:
    warnings = []
    if raw_threshold is not None:
        warnings.append(
            f"quality.raw_threshold {raw_threshold:.10g} promises nothing: engines are often sure of what is wrong. "
            "quality.target keeps a share of agreement with Claude"
        )
    if is_calibration_refused:
        warnings.append(
            "confidence is empty: the calibration that comes with the model was made for another prompt, other labels "
            "or another label_order. quality.target calibrates on this run's own labels"
        )
    return warnings


def _cost_warnings(gpu_cost: Decimal | None, api_cost: Decimal | None) -> list[str]:
    warnings = []
    if gpu_cost is None:
        warnings.append("engine cost is unknown: set compute.device_hour_usd in the job")
    if api_cost is None:
        warnings.append("cost of Claude is unknown: its model is not in the price book, or rows came without usage")
    return warnings
