"""The tables of a run's page: cost by route, label by label, sampled rows."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines.report.first_costs import first_cost_usd
from pipelines.report.html.reported_run import ReportedRun, original_of
from pipelines.report.numbers import UNKNOWN, per_items, share, short_usd
from pipelines.report.page import percent, usd
from pipelines.report.summary import Summary
from pipelines.routes import Route

_SHOWN_LABELS = 100
_SHOWN_CHANGES = 10
_TEXT_CHARACTERS = 2_000


@dataclass(frozen=True)
class Money:
    """An amount as a person reads it, and to the last digit; in words where it is not known."""

    short: str
    exact: str


@dataclass(frozen=True)
class CostRow:
    """One route, or all of them."""

    name: str
    items: int
    share: str
    engine: Money
    claude: Money
    total: Money


@dataclass(frozen=True)
class LabelRow:
    """One label: what the engine and Claude made of it."""

    name: str
    engine: int
    asked: int
    agreed: str
    drawn: str  # agreement among labels that speak for all items, each for as many as it stands for
    drawn_items: int
    final: int
    right: str


def cost_rows(summary: Summary) -> list[CostRow]:
    """Each route and their sum, which is the run's."""
    rows = [
        _cost_row(name, summary.items, route.items, (first_cost_usd(route), route.api_cost_usd, route.cost_usd))
        for name, route in summary.routes.items()
    ]
    totals = (first_cost_usd(summary), summary.api_cost_usd, summary.cost_usd)
    return [*rows, _cost_row("all", summary.items, summary.items, totals)]


def _cost_row(name: str, all_items: int, items: int, costs: tuple[Decimal | None, ...]) -> CostRow:
    engine, claude, total = (Money(short_usd(cost), usd(cost)) for cost in costs)
    return CostRow(name, items, share(items, all_items), engine, claude, total)


def unit_costs(summary: Summary) -> list[tuple[str, str, str]]:
    """What, of this run, of all-Claude: by the thousand and by the million items."""
    own, everything = summary.cost_usd, summary.all_claude_cost_usd
    return [
        (f"{items:,} items", _unit(own, summary, items), _unit(everything, summary, items))
        for items in (1_000, 1_000_000)
    ]


def _unit(amount: Decimal | None, summary: Summary, items: int) -> str:
    cost = per_items(amount, summary.items, items)
    return UNKNOWN if cost is None else f"{short_usd(cost)} USD"


def label_rows(run: ReportedRun) -> list[LabelRow]:
    """In the job's order, then what else was answered."""
    found = run.figures.labels
    names = [*run.job.labels, *sorted(set(found) - set(run.job.labels))]
    drawn = _drawn_labels(run.summary)
    rows = []
    for name in names[:_SHOWN_LABELS]:
        label = found.get(name)
        agreement, items = drawn.get(name, (None, 0))
        rows.append(
            LabelRow(
                name=name,
                engine=label.engine if label else 0,
                asked=label.asked if label else 0,
                agreed=share(label.agreed, label.asked) if label else "-",
                drawn=percent(agreement),
                drawn_items=items,
                final=label.final if label else 0,
                right=share(label.right, label.known) if label else "-",
            )
        )
    return rows


def _drawn_labels(summary: Summary) -> dict[str, tuple[float, int]]:
    rule = summary.quality
    if rule is None:
        return {}
    names = rule.fingerprints.labels
    by_label = rule.calibration.get("by_label") or ()
    return {names[each["label"]]: (each["agreement"], each["items"]) for each in by_label}


def changes(run: ReportedRun) -> list[tuple[str, str, int]]:
    """Which answers of the engine Claude changed to which, the commonest first."""
    commonest = sorted(run.figures.changes.items(), key=lambda change: (-change[1], change[0]))
    return [(engine, claude, items) for (engine, claude), items in commonest[:_SHOWN_CHANGES]]


def samples(run: ReportedRun) -> list[dict[str, Any]]:
    """A few rows of each route, with the text where it was asked for."""
    rows = [row for route in Route for row in run.figures.samples.get(route, ())]
    texts = run.texts
    return [
        row
        | _by_people(run, row)
        | {"cost": short_usd(row["cost_usd"])}
        | {"text": None if texts is None else _cut(texts.get(original_of(row), "no text: it could not be read"))}
        for row in rows
    ]


def _by_people(run: ReportedRun, row: dict[str, Any]) -> dict[str, Any]:
    given = run.answers.get(original_of(row))
    if given is None:
        return {}
    reason = "; ".join(filter(None, (row["reason"], f"answered by {given.person}")))
    return {"answer": given.answer, "reason": reason}


def _cut(text: str) -> list[str]:
    lines = text[:_TEXT_CHARACTERS].splitlines()
    return [*lines, f"[{len(text) - _TEXT_CHARACTERS:,} more characters]"] if len(text) > _TEXT_CHARACTERS else lines
