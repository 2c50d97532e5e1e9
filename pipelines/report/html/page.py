"""The page itself: templates filled with what a run came to. Everything that is filled in is data, never markup."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipelines.documents.code.shown import visible
from pipelines.report.html import adapters, findings, statements, tables
from pipelines.report.html.flow import flow_plot
from pipelines.report.html.plots import confidence_plot, cost_plot, curve_plot, reliability_plot, time_plot
from pipelines.report.html.reported_run import ReportedRun, read_run
from pipelines.report.html.svg import Plot
from pipelines.report.page import percent, usd
from pipelines.report.summary import Summary
from pipelines.report.verdict import verdict, worth_knowing
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import question_stores
from pipelines.tasks.code_review.categories import SEVERITIES

# Marks that reorder what follows them: an id that holds one must not rewrite the line it stands in.
_REORDERING = {
    code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_FATES = {"engine": "accepted", "claude": "Claude was asked", "nobody": "nobody else was asked"}
# What ends a script or begins a comment within one, written so that JSON means the same.
_IN_SCRIPT = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def run_page(store: Store, with_texts: bool = False) -> bytes:
    """The page of a run that has its summary, from its store alone.

    Raises:
        StoreError: something of the run is missing or cannot be read.
        JobError: its job is one that this version refuses.
    """
    if question_stores(store):
        return render_questions(store).encode()
    return render(read_run(store, with_texts)).encode()


def render_questions(store: Store) -> str:
    """The page of a run that asks several questions: what each came to, and the way to its own page."""
    text = store.read(layout.SUMMARY).decode()
    summary = Summary.model_validate_json(text)
    return (
        templates()
        .get_template("questions.html.jinja")
        .render(summary=summary, usd=usd, percent=percent, summary_json=json_in_script(text))
    )


def render(run: ReportedRun) -> str:
    """The page of a run that was read."""
    summary = run.summary
    said = verdict(summary)
    plots: list[Plot | str | None] = [
        curve_plot(summary),
        reliability_plot(summary),
        confidence_plot(run.figures.raw_prob, "raw probability of the engine's answer", _FATES),
    ]
    return (
        templates()
        .get_template("page.html.jinja")
        .render(
            run=run,
            summary=summary,
            record=run.record,
            verdict=said,
            knowing=worth_knowing(summary),
            flow=flow_plot(run.figures.fates),
            cost=cost_plot(summary),
            curve=plots[0],
            reliability=plots[1],
            confidence=plots[2],
            time=time_plot(run.figures),
            statement=summary.quality.statement.splitlines() if summary.quality else [],
            severities=SEVERITIES,
            summary_json=json_in_script(run.summary_text),
            tables=tables,
            adapters=adapters,
            findings=findings,
            statements=statements,
        )
    )


def json_in_script(document: str) -> Markup:
    """JSON that no text within it can lead out of a script element, and that means the same."""
    return Markup(document.translate(_IN_SCRIPT))  # noqa: S704  # nothing is left that markup could begin with


def _shown(value: Any) -> Any:
    """Text in one line, in the order it is written; what is no text as it is."""
    return visible(value).translate(_REORDERING) if type(value) is str else value


@cache
def templates() -> Environment:
    """The page's, each compiled when it is first asked for."""
    return Environment(
        loader=PackageLoader("pipelines.report.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
