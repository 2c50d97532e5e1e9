"""The summary in words: Markdown for Prefect's page."""

from __future__ import annotations

from decimal import Decimal

from pipelines.report.first_costs import first_cost_usd
from pipelines.report.reasons import COUNTED_ROUTES
from pipelines.report.summary import Summary

_SHOWN_REASONS = 5


def as_markdown(summary: Summary) -> str:
    """Counts, accuracy and cost of a run."""
    lines = [f"# {summary.run_id}", "", f"{summary.items:,} items, results in `{summary.results}`", ""]
    if summary.provider == "simulation":
        lines += ["**Simulation**: Claude's answers were made from the gold labels; nothing was billed.", ""]
    first = "first tier" if summary.first_tier else "engine"
    lines += [f"| route | items | {first} USD | Claude USD | total USD |", "|---|---:|---:|---:|---:|"]
    for name, route in summary.routes.items():
        costs = " | ".join(usd(cost) for cost in (first_cost_usd(route), route.api_cost_usd, route.cost_usd))
        lines.append(f"| {name} | {route.items:,} | {costs} |")
    total = " | ".join(usd(cost) for cost in (first_cost_usd(summary), summary.api_cost_usd, summary.cost_usd))
    lines += [f"| **all** | {summary.items:,} | {total} |", ""]
    lines += [f"- {line}" for line in reason_lines(summary)]
    if summary.problem:
        lines += ["", f"**{summary.problem}**", ""]
    if summary.accuracy:
        lines += [accuracy_line(summary), ""]
    for each in summary.questions:
        lines += [f"**{each.key}**{f' {each.label}' if each.label else ''}: {each.verdict}", ""]
    if summary.quality:
        lines += [f"{line}\n" for line in summary.quality.statement.splitlines()]
    lines += [f"- {warning}" for warning in summary.warnings]
    return "\n".join(lines)


def reason_lines(summary: Summary) -> list[str]:
    """Why items have no answer, the commonest reasons of each route."""
    lines = []
    for route in COUNTED_ROUTES:
        counts = [each for each in summary.reasons if each.route == route]
        shown = counts[:_SHOWN_REASONS]
        lines += [f"{route:<9} {each.items:,}: {each.reason} (such as {each.example})" for each in shown]
        if rest := counts[_SHOWN_REASONS:]:
            lines.append(f"{route:<9} {sum(each.items for each in rest):,}: for {len(rest):,} other reasons")
    return lines


def accuracy_line(summary: Summary) -> str:
    """Accuracy before and after escalation, against gold labels."""
    accuracy = summary.accuracy
    assert accuracy is not None
    before, after = percent(accuracy.engine_alone), percent(accuracy.final)
    return (
        f"accuracy against gold labels: {before} engine alone (of {accuracy.engine_answers:,}), "
        f"{after} final (of {accuracy.final_answers:,} answered)"
    )


def usd(amount: Decimal | None) -> str:
    """Every digit that is not a trailing zero; `unknown` for what has no price."""
    if amount is None:
        return "unknown"
    return f"{amount.normalize():f}" if amount else "0"


def percent(share: float | None) -> str:
    """One decimal place; a dash where there is nothing to share out."""
    return "-" if share is None else f"{share:.1%}"
