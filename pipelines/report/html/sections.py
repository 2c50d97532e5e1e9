"""The words and tables of a run's page: what stands beside its plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines.documents.code.shown import LineMap
from pipelines.errors import InvariantError
from pipelines.job.job import Job
from pipelines.report.html.reported_run import ReportedRun
from pipelines.report.numbers import UNKNOWN, count, per_items, share, short_usd
from pipelines.report.page import percent, usd
from pipelines.report.summary import Summary
from pipelines.routes import Route
from pipelines.tasks.code_review.categories import SEVERITIES
from pipelines.tasks.code_review.findings import FindingRow

_SHOWN_LABELS = 100
_SHOWN_CHANGES = 10
_TEXT_CHARACTERS = 2_000
_LINES_AROUND = 2


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
    drawn: str  # agreement among labels that were bought without regard to doubt
    drawn_items: int
    final: int
    right: str


@dataclass(frozen=True)
class ShownFinding:
    """A finding, and its lines where texts were asked for."""

    row: FindingRow
    lines: tuple[tuple[int, str, bool], ...] = ()


def cost_rows(summary: Summary) -> list[CostRow]:
    """Each route and their sum, which is the run's."""
    rows = [
        _cost_row(name, summary.items, route.items, (route.gpu_cost_usd, route.api_cost_usd, route.cost_usd))
        for name, route in summary.routes.items()
    ]
    totals = (summary.gpu_cost_usd, summary.api_cost_usd, summary.cost_usd)
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


def cost_notes(run: ReportedRun) -> list[str]:
    """Why an amount is not known, what is no amount that was billed, and how long the engines were held."""
    summary = run.summary
    notes = []
    if summary.provider == "simulation":
        notes.append(
            "Claude was simulated: its cost is what the tokens would have cost at list price. Nothing was billed."
        )
    if summary.gpu_cost_usd is None:
        notes.append("The engine's cost is unknown: the job names no compute.device_hour_usd. It is not zero.")
    if summary.api_cost_usd is None:
        notes.append("Claude's cost is unknown: its model is not in the price book, or rows came without usage.")
    if summary.all_claude_cost_usd is None and summary.items:
        notes.append("What all-Claude would cost is unknown: no item of this run was asked at a known price.")
    if summary.engine_held_seconds:
        busy = summary.gpu_seconds / summary.engine_held_seconds
        notes.append(
            f"The engines were held for {summary.engine_held_seconds:,.1f} s and busy for {summary.gpu_seconds:,.1f} s "
            f"of it ({busy:.0%}); the rows carry the busy time alone, so start-up and waiting are in no route."
        )
    return notes


def token_notes(run: ReportedRun) -> list[str]:
    """What was read and written, and how much of it came from a cache."""
    tokens, batches = run.figures.tokens, run.batches
    notes = []
    if tokens["input_tokens"]:
        cached = share(tokens["cached_tokens"], tokens["input_tokens"])
        notes.append(
            f"Engine: {tokens['input_tokens']:,} tokens read, {cached} of them from the prefix cache; "
            f"{tokens['output_tokens']:,} written."
        )
    if tokens["api_input_tokens"]:
        cached = share(tokens["api_cached_tokens"], tokens["api_input_tokens"])
        notes.append(
            f"Claude: {tokens['api_input_tokens']:,} tokens read, {cached} of them from its cache; "
            f"{tokens['api_output_tokens']:,} written."
        )
    if batches.sent:
        again = f"{batches.again:,} sent again" if batches.again else "none sent twice"
        notes.append(f"Message batches: {batches.sent:,}, {again}.")
    return notes


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
        | {"cost": short_usd(row["cost_usd"])}
        | {"text": None if texts is None else _cut(texts.get(row["item_id"], "no text: it could not be read"))}
        for row in rows
    ]


def _cut(text: str) -> list[str]:
    lines = text[:_TEXT_CHARACTERS].splitlines()
    return [*lines, f"[{len(text) - _TEXT_CHARACTERS:,} more characters]"] if len(text) > _TEXT_CHARACTERS else lines


def severity_table(run: ReportedRun) -> list[tuple[str, list[int]]]:
    """Category, and its findings by severity, the most first; a sum at the end."""
    assert run.review is not None
    kinds = run.review.by_kind
    rows = [(name, [kinds[name, severity] for severity in SEVERITIES]) for name in sorted({name for name, _ in kinds})]
    sums = [sum(row[1][place] for row in rows) for place in range(len(SEVERITIES))]
    return [*sorted(rows, key=lambda row: [-number for number in row[1]]), ("all", sums)]


def shown_findings(run: ReportedRun) -> list[ShownFinding]:
    """The worst of the reported findings."""
    assert run.review is not None
    return [ShownFinding(row, _lines_of(run, row)) for row in run.review.shown]


def _lines_of(run: ReportedRun, row: FindingRow) -> tuple[tuple[int, str, bool], ...]:
    """The lines about a finding, each with its number and whether it is one of the finding's."""
    text = (run.texts or {}).get(row.item_id)
    if text is None:
        return ()
    try:
        lines = LineMap.of(text)
    except InvariantError:  # an older version showed code otherwise: the finding stands without its lines
        return ()
    finding = row.finding
    last = min(finding.end_line, finding.line + 4 * _LINES_AROUND)
    near = range(max(1, finding.line - _LINES_AROUND), last + _LINES_AROUND + 1)
    found = [(number, lines.text_at(finding.path, number)) for number in near]
    return tuple(
        (number, line, finding.line <= number <= finding.end_line) for number, line in found if line is not None
    )


def review_notes(run: ReportedRun) -> list[str]:
    """What is not among the findings, and why."""
    assert run.review is not None
    record, review = run.review.record, run.review
    reported = f"{count(review.published, 'finding')} reported of {record['findings']:,} made"
    why = ", ".join(f"{number:,} {reason}" for reason, number in sorted(review.withheld.items()))
    notes = [
        f"{record['reviewed_items']:,} of {count(record['planned_items'], 'item')} reviewed.",
        f"{reported}{f'; kept back: {why}' if why else ''}.",
    ]
    if record["dropped"]:
        notes.append(f"{record['dropped']:,} more named a line that was not shown, and were dropped.")
    if len(review.shown) < review.published:
        notes.append(
            f"The worst {len(review.shown):,} are listed; all are in {run.summary.run_id}/review/findings.arrow."
        )
    if record.get("missing"):
        notes.append(f"Not reviewed whole: {count(len(record['missing']), 'item')}; the SARIF log names them.")
    return notes


def policy_sentences(run: ReportedRun) -> list[str]:
    """What was sent to whom, what was kept back by which rule, and what this page itself holds."""
    job, summary = run.job, run.summary
    sent = sum(items for (_, was_asked), items in run.figures.fates.items() if was_asked)
    return [*_sent_sentences(job, summary, sent), _rule_sentence(job, summary), _own_sentence(run)]


def _sent_sentences(job: Job, summary: Summary, sent: int) -> list[str]:
    escalation = job.escalation
    if escalation is None:
        return ["Nothing was sent to anybody: escalation is off."]
    models = ", ".join(tier.model for tier in escalation.all_tiers)
    if escalation.provider == "simulation":
        return [f"{count(sent, 'item')} were answered by the simulation of {models} on this machine: nothing left it."]
    geo = f"inference_geo was {escalation.inference_geo}" if escalation.inference_geo else "inference_geo was not set"
    deleted = (
        "The provider's copy of each batch is deleted once its answers are collected."
        if escalation.delete_after_collecting
        else "The provider keeps its copy of each batch as long as it keeps batches (delete_after_collecting is off)."
    )
    return [f"{count(sent, 'item')} were sent to {models} through {escalation.provider}; {geo}.", deleted]


def _rule_sentence(job: Job, summary: Summary) -> str:
    if job.policy.never_escalate is None:
        return "No rule kept anything back: policy.never_escalate is not set, so each doubtful item could be sent."
    withheld = summary.routes[Route.WITHHELD].items
    return (
        f"Never sent: items for which `{job.policy.never_escalate}` holds, or cannot be decided. "
        f"{count(withheld, 'doubtful item')} were withheld by it."
    )


def _own_sentence(run: ReportedRun) -> str:
    if run.texts is None:
        said = ", what was said of each finding" if run.review else ""
        return f"This page holds ids, labels, reasons{said} and numbers; no text of any document."
    return "This page holds text of documents (--with-texts): of the sampled rows, and of the lines that findings name."


def provenance(run: ReportedRun) -> list[str]:
    """Lines to copy into a ticket: what ran, on what, with what."""
    record, job = run.record, run.job
    rule = run.summary.quality
    asked = ", ".join(tier.model for tier in job.escalation.all_tiers) if job.escalation else "nobody"
    promised = f"{rule.target:.10g} with assurance {rule.assurance:.10g}" if rule and rule.target is not None else "-"
    named = {
        "run": record["run_id"],
        "job": job.name,
        "task": job.task,
        "begun": record["created_at"],
        "input": f"{job.input} ({record['input_files']:,} files, {record['input_bytes']:,} bytes)",
        "input print": record["input_fingerprint"],
        "results": run.summary.results,
        "model": record["model"],
        "revision": record["model_revision"],
        "prompt print": record["prompt_fingerprint"],
        "asked": asked,
        "target": promised,
        "prices": record["price_book"],
    }
    versions = [f"{name} {version}" for name, version in sorted(record["versions"].items())]
    return [*(f"{name:<13} {value}" for name, value in named.items()), f"{'versions':<13} {', '.join(versions)}"]


def accuracy_sentences(summary: Summary) -> Sequence[str]:
    """Against gold labels, where there are any."""
    accuracy = summary.accuracy
    if accuracy is None:
        return []
    final = f"{percent(accuracy.final)} of {count(accuracy.final_answers, 'answer')} are right in the end"
    engine = f", {percent(accuracy.engine_alone)} of the engine's own {accuracy.engine_answers:,}"
    return [f"Against gold labels, {final}{engine if accuracy.engine_answers else ''}."]
