"""The end of a run on one card: what became of the items, how good, at what price, and what to look at next."""

from __future__ import annotations

from decimal import Decimal

from rich.text import Text

from flows.console.printable import printable_line
from pipelines.documents.left_out import told_left_out
from pipelines.report.first_costs import first_cost_usd
from pipelines.report.numbers import per_items, share, short_usd
from pipelines.report.page import percent, reason_lines
from pipelines.report.questions import question_lines
from pipelines.report.summary import Summary
from pipelines.report.verdict import Verdict, verdict, worth_knowing
from pipelines.routes import Route

_LABEL = 10
_CELLS = 60
_COLUMNS = 76  # of a narrow terminal
# A route is known by its shade where there is no colour.
_ROUTES = {
    Route.ACCEPTED: ("█", "cyan"),
    Route.ESCALATED: ("▓", "dark_orange"),
    Route.REVIEW: ("▒", "yellow"),
    Route.WITHHELD: ("░", "bright_black"),
    Route.FAILED: ("x", "red"),
}
_UNITS = ((1_000, "per 1,000 items"), (1_000_000, "per million    "))


def card_lines(summary: Summary, report: str) -> list[str | Text]:
    """The card; ``report`` is where the page is, or how to make it. No name in it can begin a line of its own."""
    return [line if isinstance(line, Text) else printable_line(line) for line in _lines(summary, report)]


def _lines(summary: Summary, report: str) -> list[str | Text]:
    lines: list[str | Text] = [*question_lines(summary)] if summary.questions else [_promise(summary)]
    if summary.provider == "simulation":
        lines.append("simulation: Claude's answers were made from the gold labels; nothing was billed")
    if summary.items:
        lines += [*_bar(summary), *_accuracy(summary), *_cost(summary)]
    lines += [f"{label:<{_LABEL}}{told}" for label, told in worth_knowing(summary)]
    if summary.prompts:
        lines.append(f"prompts   {summary.prompts.told()}")
    if summary.left_out:
        lines.append(f"left out  {told_left_out(summary.left_out)}")
    lines += [f"warning   {warning}" for warning in summary.warnings]
    return [*lines, f"results   {summary.results}", f"report    {report}"]


def further_lines(summary: Summary) -> list[str]:
    """Every reason why items have no answer, and what was promised and certified, in full."""
    statement = summary.quality.statement.splitlines() if summary.quality else []
    return [printable_line(line) for line in [*reason_lines(summary), *statement]]


def _promise(summary: Summary) -> str:
    said: Verdict = verdict(summary)
    match said.kind:
        case "failed":
            return f"problem   {said.rest}"
        case "stopped":
            return f"stopped   {said.headline.removeprefix('Stopped ')}: {said.rest}"
        case "none" if not summary.items:
            return "nothing   was there to answer: the input holds no document"
    kept = {"kept": "kept", "not_kept": "not kept", "none": "none"}[said.kind]
    return f"promise   {kept}: {said.rest}"


def _bar(summary: Summary) -> list[Text]:
    """A bar of all items, and below it which part of it is what."""
    shown = [(route, summary.routes[route].items) for route in _ROUTES if summary.routes[route].items]
    bar, legend = Text("items".ljust(_LABEL)), [Text(" " * _LABEL)]
    for (route, items), cells in zip(shown, _cells([items for _, items in shown]), strict=True):
        shade, colour = _ROUTES[route]
        bar.append(shade * cells, colour)
        words = f" {items:,} {route} {share(items, summary.items)}"
        if len(legend[-1]) + len(words) > _COLUMNS:
            legend.append(Text(" " * _LABEL))
        legend[-1].append("  " if len(legend[-1]) > _LABEL else "").append(shade, colour).append(words)
    return [bar, *legend]


def _cells(items: list[int]) -> list[int]:
    """So many cells for each that they fill the bar, and none is without."""
    room, total = _CELLS - len(items), sum(items)
    edges = [round(sum(items[: place + 1]) * room / total) for place in range(len(items))]
    return [1 + edge - before for edge, before in zip(edges, [0, *edges], strict=False)]


def _accuracy(summary: Summary) -> list[str]:
    accuracy = summary.accuracy
    if accuracy is None or accuracy.final is None:
        return []
    engine = "" if accuracy.engine_alone is None else f"; the engine alone {percent(accuracy.engine_alone)}"
    return [f"accuracy  {percent(accuracy.final)} of {accuracy.final_answers:,} answers equal their gold label{engine}"]


def _cost(summary: Summary) -> list[str]:
    first = "first tier" if summary.first_tier else "engine"
    parts = f"{first} {short_usd(first_cost_usd(summary))}, Claude {short_usd(summary.api_cost_usd)}"
    asked = f"Claude asked about {percent(summary.escalated_share)}"
    lines = [f"cost      {_usd(summary.cost_usd)} ({parts}); {asked}"]
    for items, words in _UNITS:
        own, everything = (
            per_items(amount, summary.items, items) for amount in (summary.cost_usd, summary.all_claude_cost_usd)
        )
        lines.append(f"{'':<{_LABEL}}{words}  {_usd(own):>14}; all by Claude {_usd(everything)}")
    return lines


def _usd(amount: Decimal | None) -> str:
    return short_usd(amount) if amount is None else f"{short_usd(amount)} USD"
