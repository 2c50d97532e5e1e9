"""What a finished run comes to: counts, accuracy where gold labels are known, and money, exact.

Read from the published rows alone, part by part, so that it says what the data set says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipelines.cascade.record import RuleRecord
from pipelines.costs.accounting import PlainMoney, add_known, sum_money, to_money
from pipelines.documents.gold import shown_gold
from pipelines.documents.item_sum import ItemSum
from pipelines.errors import InvariantError
from pipelines.report.first_costs import cost_warnings
from pipelines.report.prompts import CachePromise, Prompts, PromptTally
from pipelines.report.reasons import ReasonCount, Reasons
from pipelines.report.warnings import gold_warnings, limit_warnings, quality_warnings
from pipelines.results import ROUTES
from pipelines.routes import Route, Stop
from pipelines.store.schemas import MONEY

# A run in which a larger share of the items failed for one reason, or all did, has not done what was asked of it: its
# rows are published, and it ends with exit code 1.
MOST_FAILED_SHARE = 0.5
# From this share on, the engine has hardly spared a question.
_NEARLY_ALL = 0.9
_LEAST_TO_JUDGE = 30  # answers; of fewer, anything may be chance
_MONEY = ("gpu_cost_usd", "api_cost_usd", "cost_usd", "first_tier_cost_usd")
_Z = 1.645  # one-sided, 95 %

NEEDED_COLUMNS = [
    "item_id",
    "document_id",
    "document_uri",
    "route",
    "answer",
    "engine_answer",
    "gold_label",
    "reason",
    "gpu_seconds",
    "gpu_cost_usd",
    "api_cost_usd",
    "cost_usd",
    "duplicate_of",
    "api_input_tokens",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "first_tier_cost_usd",
]


class RouteSummary(BaseModel):
    """Items of one route and what they cost; a cost is null when any row's is unknown."""

    model_config = ConfigDict(frozen=True)

    items: int
    gpu_cost_usd: PlainMoney | None
    api_cost_usd: PlainMoney | None
    cost_usd: PlainMoney | None
    first_tier_cost_usd: PlainMoney | None = None  # over HTTP, in the place of gpu_cost_usd


class Accuracy(BaseModel):
    """Share of answers equal to the gold label, over documents with a gold label."""

    model_config = ConfigDict(frozen=True)

    engine_alone: float | None
    engine_answers: int
    final: float | None
    final_answers: int
    gold_items: int  # whose gold value is a label
    strangers: int = 0  # gold values that are no label: they count for nothing
    stranger: str | None = None  # the first of them, escaped and cut short


class QuestionSummary(BaseModel):
    """One of several questions of a run: what its own summary comes to, in short."""

    model_config = ConfigDict(frozen=True)

    key: str
    label: str | None  # that it is about, where any may be chosen
    run_id: str
    kind: str
    verdict: str
    items: int
    routes: dict[str, int]
    escalated_share: float
    accuracy: float | None
    cost_usd: PlainMoney | None


class Summary(BaseModel):
    """What a run came to, as summary.json holds it: counts, costs, quality, versions."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    results: str
    items: int
    routes: dict[str, RouteSummary]
    gpu_seconds: float
    gpu_cost_usd: PlainMoney | None
    api_cost_usd: PlainMoney | None
    cost_usd: PlainMoney | None
    escalated_share: float
    all_claude_cost_usd: PlainMoney | None
    accuracy: Accuracy | None
    provider: str | None
    stopped_by: Stop | None
    engine_held_seconds: float
    quality: RuleRecord | None  # what a target or a budget decided; None where a threshold decided each item by itself
    warnings: list[str]
    left_out: dict[str, int] = {}  # no documents by rule: how many files, folders or commits, by reason
    reasons: list[ReasonCount] = []  # why items have no answer
    copies: int = 0  # rows whose answer is another document's of the same text
    prompts: Prompts | None = None  # what the engine read; None where it read nothing
    problem: str | None = None  # why the run, though all its rows are there, did not do what was asked
    first_tier: str | None = None  # over HTTP: model and server; None where engines answered first, or nobody
    first_tier_cost_usd: PlainMoney | None = None
    questions: list[QuestionSummary] = []  # of a run that asks several; all else is over the rows of all

    @property
    def has_first_answers(self) -> bool:
        """Whether anything answered before Claude did."""
        return bool(self.gpu_seconds or self.first_tier)


class Tally:
    """Adds up result tables; with ``labels``, gold values that are none of them are counted apart."""

    def __init__(self, labels: Collection[str] | None = None) -> None:
        self._labels = None if labels is None else pa.array(labels, pa.string())
        self._stranger: str | None = None
        self._reasons = Reasons()
        self._claude = Counter[str]()
        self._agreed, self._compared, self._engine_answers = 0, 0, 0
        self._items: Counter[str] = Counter()
        self._money: dict[tuple[str, str], list[Decimal | None]] = {}
        self._gpu_seconds = 0.0
        self._gold = Counter[str]()
        self._asked_claude = 0
        self._copies = 0
        self._ids = ItemSum()
        self._prompts = PromptTally()

    def add(self, table: pa.Table) -> None:
        """Count the rows of one part."""
        self._ids.add(table["item_id"].to_numpy().tolist())
        self._gpu_seconds += pc.sum(table["gpu_seconds"]).as_py() or 0.0
        self._copies += len(table) - table["duplicate_of"].null_count
        self._asked_claude += len(table) - table["api_input_tokens"].null_count
        for route in sorted(set(table["route"].to_numpy().tolist())):
            rows = table.filter(pc.field("route") == route)
            self._items[route] += len(rows)
            for column in _MONEY:
                if column not in rows.column_names:  # of a part that an earlier version wrote
                    rows = rows.append_column(column, pa.nulls(len(rows), MONEY))
                self._money.setdefault((route, column), []).append(sum_money(rows[column]))
        self._reasons.add(table)
        self._prompts.add(table)
        self._add_agreement(table)
        table = self._with_labels_only(table)
        for label in table["gold_label"].drop_null().to_pylist():
            self._gold[f"label {label}"] += 1
        for column in ("engine_answer", "answer"):
            known = table.filter(pc.and_(pc.is_valid(table["gold_label"]), pc.is_valid(table[column])))
            self._gold[column] += len(known)
            right = known.filter(pc.field(column) == pc.field("gold_label"))
            self._gold[f"right {column}"] += len(right)
        self._gold["items"] += len(table) - table["gold_label"].null_count

    def _add_agreement(self, table: pa.Table) -> None:
        """Of the items that Claude was asked about, how many it answered as the engine had."""
        self._engine_answers += len(table) - table["engine_answer"].null_count
        asked = table.filter(pc.and_(pc.is_valid(table["api_input_tokens"]), pc.is_valid(table["answer"])))
        both = asked.filter(pc.is_valid(asked["engine_answer"]))
        self._claude.update(both["answer"].to_numpy().tolist())
        self._compared += len(both)
        self._agreed += len(both.filter(pc.field("answer") == pc.field("engine_answer")))

    def _with_labels_only(self, table: pa.Table) -> pa.Table:
        """The table without gold values that are no label."""
        if self._labels is None:
            return table
        gold = table["gold_label"]
        is_stranger = pc.and_(pc.is_valid(gold), pc.invert(pc.is_in(gold, value_set=self._labels)))
        strangers = gold.filter(is_stranger)
        self._gold["strangers"] += len(strangers)
        if len(strangers) and self._stranger is None:
            self._stranger = shown_gold(str(strangers[0].as_py()))
        known = pc.if_else(is_stranger, pa.scalar(None, pa.string()), gold)
        return table.set_column(table.column_names.index("gold_label"), "gold_label", known)

    def routes(self) -> dict[str, RouteSummary]:
        """Every route, also those without items."""
        return {
            route: RouteSummary(
                items=self._items[route],
                gpu_cost_usd=self._sum(route, "gpu_cost_usd"),
                api_cost_usd=self._sum(route, "api_cost_usd"),
                cost_usd=self._sum(route, "cost_usd"),
                first_tier_cost_usd=self._sum(route, "first_tier_cost_usd"),
            )
            for route in ROUTES
        }

    def accuracy(self) -> Accuracy | None:
        """None where no gold label is known."""
        gold = self._gold
        if not gold["items"] and not gold["strangers"]:
            return None
        return Accuracy(
            engine_alone=_share(gold["right engine_answer"], gold["engine_answer"]),
            engine_answers=gold["engine_answer"],
            final=_share(gold["right answer"], gold["answer"]),
            final_answers=gold["answer"],
            gold_items=gold["items"],
            strangers=gold["strangers"],
            stranger=self._stranger,
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
        stopped_by: Stop | None,
        engine_held_seconds: float,
        rule: RuleRecord | None = None,
        raw_threshold: float | None = None,
        is_calibration_refused: bool = False,
        left_out: Mapping[str, int] | None = None,
        document_limit: int | None = None,
        cache_promise: CachePromise | None = None,
        first_tier: str | None = None,
    ) -> Summary:
        """Close the books.

        Raises:
            InvariantError: the rows are not exactly the planned items.
        """
        # The column of what did not answer first is empty, also where a route has no rows.
        empty = "gpu_cost_usd" if first_tier else "first_tier_cost_usd"
        routes = {name: route.model_copy(update={empty: None}) for name, route in self.routes().items()}
        items = sum(route.items for route in routes.values())
        if items != planned_items or set(self._items) - set(ROUTES):
            raise InvariantError(
                f"run {run_id}: {items} result rows for {planned_items} planned items; the run is not complete. "
                "Do not use the results; please report this with the run's folder"
            )
        parts = list(routes.values())
        api_cost = add_known(part.api_cost_usd for part in parts)
        gpu_cost = add_known(part.gpu_cost_usd for part in parts)
        first_tier_cost = add_known(part.first_tier_cost_usd for part in parts)
        scorable = items - routes[Route.FAILED].items - self._copies
        is_priced = api_cost is not None and self._asked_claude
        escalated_share = self._asked_claude / scorable if scorable else 0.0
        reasons = self._reasons.counts()
        return Summary(
            run_id=run_id,
            results=results,
            items=items,
            routes=routes,
            gpu_seconds=round(self._gpu_seconds, 9),
            gpu_cost_usd=gpu_cost,
            api_cost_usd=api_cost,
            cost_usd=add_known(part.cost_usd for part in parts),
            escalated_share=escalated_share,
            all_claude_cost_usd=to_money(api_cost / self._asked_claude * scorable) if is_priced and api_cost else None,
            accuracy=self.accuracy(),
            provider=provider,
            stopped_by=stopped_by,
            engine_held_seconds=engine_held_seconds,
            quality=rule,
            left_out=dict(left_out or {}),
            warnings=[
                *limit_warnings(document_limit, items),
                *quality_warnings(raw_threshold, is_calibration_refused),
                *cost_warnings(gpu_cost, api_cost, first_tier, first_tier_cost),
                *gold_warnings(self.accuracy()),
                *self._doubt_warnings(rule, escalated_share),
                *self._prompts.warnings(cache_promise),
            ],
            reasons=reasons,
            copies=self._copies,
            prompts=self._prompts.closed(cache_promise),
            first_tier=first_tier,
            first_tier_cost_usd=first_tier_cost,
            problem=_problem(items, routes[Route.FAILED].items, reasons),
        )

    def _doubt_warnings(self, rule: RuleRecord | None, asked_share: float) -> list[str]:
        """What to do where the engine's answers are worth nothing, or spare nothing."""
        if not self._engine_answers:
            return []
        warnings = []
        labels = len(self._labels) if self._labels is not None else 0
        gold = {name: count for name, count in self._gold.items() if name.startswith("label ")}
        told = [
            ("the gold labels", self._gold["right engine_answer"], self._gold["engine_answer"], _commonest(gold)),
            ("Claude", *self._agreement(rule, asked_share)),
        ]
        for whom, right, judged, commonest in told:
            chance = max(commonest, 1 / labels if labels else 0.0)
            if judged >= _LEAST_TO_JUDGE and _at_least(right, judged) <= chance:
                warnings.append(
                    f"the engine's answers are not measurably better than chance: {right:,} of {judged:,} agree with "
                    f"{whom}, and one and the same answer for all would have {chance:.1%}. Describe the labels, mend "
                    "the instructions, or take a larger model"
                )
        if asked_share >= _NEARLY_ALL:
            warnings.append(
                f"Claude was asked about {asked_share:.1%} of the items: the engine has spared next to nothing. Take a "
                "larger model or a lower target or threshold; or set model to off, which asks Claude and starts no "
                "engine. Of few items nearly all are asked in any case"
            )
        return warnings

    def _agreement(self, rule: RuleRecord | None, asked_share: float) -> tuple[int, int, float]:
        """Right and judged answers against Claude, and the share of Claude's commonest; of doubtful items alone none.

        The labels that a target or a budget bought first speak for all items; those of a threshold only where nearly
        all were asked.
        """
        by_label = rule.calibration.get("by_label", ()) if rule else ()
        if by_label:
            judged = sum(each["items"] for each in by_label)
            right = round(sum(each["items"] * each["agreement"] for each in by_label))
            return right, judged, _commonest(self._claude) if asked_share >= _NEARLY_ALL else 0.0
        if rule is None and asked_share >= _NEARLY_ALL:
            return self._agreed, self._compared, _commonest(self._claude)
        return 0, 0, 0.0


def summarize(tables: Iterable[pa.Table], labels: Collection[str] | None = None) -> Tally:
    """A tally of all parts; see `Tally`."""
    tally = Tally(labels)
    for table in tables:
        tally.add(table)
    return tally


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _problem(items: int, failed: int, reasons: list[ReasonCount]) -> str | None:
    commonest = next((each for each in reasons if each.route == Route.FAILED), None)
    if commonest is None or (failed < items and commonest.items <= MOST_FAILED_SHARE * items):
        return None
    return (
        f"{failed:,} of {items:,} items failed, {commonest.items:,} of them alike: {commonest.reason} (such as "
        f"{commonest.example})"
    )


def _commonest(counts: Mapping[str, int]) -> float:
    """Share of the commonest key among all counts; 0 where nothing was counted."""
    return max(counts.values()) / sum(counts.values()) if counts else 0.0


def _at_least(right: int, judged: int) -> float:
    """Wilson's lower limit of a share."""
    share, square = right / judged, _Z**2 / judged
    centre = share + square / 2
    return (centre - _Z * math.sqrt(share * (1 - share) / judged + square / judged / 4)) / (1 + square)
