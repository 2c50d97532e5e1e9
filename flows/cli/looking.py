"""Commands that read what a run has left, and what it is made of; none starts anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import JsonOption, RunArgument

app = typer.Typer()


@app.command()
def runs(
    where: Annotated[
        str | None,
        typer.Argument(metavar="[OUTPUT]", help="A job's output; by default, all runs started on this machine."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first: state, items, cost, and when they were begun."""
    from flows.console.terminal import Terminal
    from flows.service.run_list import list_runs

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_runs(list_runs(where))


@app.command()
def status(run: RunArgument, as_json: JsonOption = False) -> None:
    """Show how far a run is, from what its store holds."""
    from flows.console.terminal import Terminal
    from flows.inspect import run_status

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_status(run_status(run))


@app.command()
def watch(
    run: RunArgument,
    once: Annotated[bool, typer.Option("--once", help="Look once, and leave; as `status`.")] = False,
) -> None:
    """Follow a run until it is complete, from what its store holds; Ctrl-C leaves it untouched."""
    from flows.console.terminal import Terminal
    from flows.console.watching import watch_run

    with Terminal(as_json=False, keep_output=True) as terminal:
        watch_run(run, terminal.progress, is_once=once)


@app.command()
def results(
    run: RunArgument,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print a code review's findings as SARIF 2.1.0.")] = False,
    baseline: Annotated[
        str | None, typer.Option(metavar="SARIF|RUN", help="With --sarif: only findings that this one does not have.")
    ] = None,
    faults: Annotated[
        str | None, typer.Option(metavar="FILE", help="Measure a code review's findings against these known faults.")
    ] = None,
    route: Annotated[
        list[str] | None, typer.Option(help="Only rows of this route, such as failed; again for more.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows; a table shows 10 by default.")] = None,
    columns: Annotated[str | None, typer.Option(metavar="A,B", help="Only these columns, in this order.")] = None,
    form: Annotated[
        Literal["table", "jsonl", "csv", "parquet", "arrow"] | None,
        typer.Option("--format", help="How to write them; by default as FILE is named, or a table."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write them into this new file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say where the result rows are, and show some; --json prints every row as a JSON line."""
    from flows.console.terminal import Terminal

    if baseline and not sarif:
        raise typer.BadParameter("goes with --sarif", param_hint="--baseline")
    if as_json and (output or form not in (None, "jsonl")):
        raise typer.BadParameter("prints JSON lines; leave out --format and -o, or leave it out", param_hint="--json")
    if (sarif or faults) and (route or limit or columns or form or output):
        raise typer.BadParameter("goes with no choice of rows", param_hint="--faults" if faults else "--sarif")
    form = "jsonl" if as_json else form
    # What is printed for programs has standard output to itself.
    with Terminal(as_json=output is None and form in ("jsonl", "csv"), keep_output=True) as terminal:
        if sarif or faults:
            from flows.stages.review import run_evaluation, run_sarif

            if sarif:
                encoded, warnings = run_sarif(run, baseline)
                terminal.show_document(encoded.decode(), warnings)
            if faults:
                terminal.show_document(run_evaluation(run, faults), [])
            return
        from flows.console.views.results import show_results

        show_results(terminal, run, routes=route or [], columns=columns, limit=limit, form=form, output=output)


@app.command()
def cost(
    run: RunArgument,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Beside it what Claude alone and hosted models would cost, and from where on it pays."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a run cost, by route, to the last digit."""
    from flows.console.terminal import Terminal

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        if compare:
            from flows.console.views.cost import compare_costs

            compare_costs(terminal, run, as_json=as_json)
            return
        from flows.inspect import run_summary

        terminal.show_cost(run_summary(run))


@app.command()
def report(
    run: RunArgument,
    file: Annotated[
        Path | None, typer.Option("-o", "--file", metavar="FILE", help="Where to; by default report-RUN.html here.")
    ] = None,
    with_texts: Annotated[
        bool, typer.Option("--with-texts", help="With the text of the sampled rows, and the lines of each finding.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser of this machine.")] = False,
) -> None:
    """Make the report of a complete run, from what its store holds: one HTML file that needs nothing else."""
    from flows.console.terminal import Terminal
    from flows.inspect import write_report

    with Terminal(as_json=False, keep_output=True) as terminal:
        terminal.show_report(write_report(run, with_texts, file), open_it)


@app.command()
def prices(as_json: JsonOption = False) -> None:
    """List the price book: every price with its source and date; your own where SLUICE_PRICES names a file."""
    from flows.console.terminal import Terminal
    from flows.console.views.cost import list_prices

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        list_prices(terminal, as_json=as_json)
