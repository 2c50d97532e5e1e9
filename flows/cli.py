"""The `pipeline` command. Thin: every command names the function that does the work.

Nothing heavy is imported at the top: `pipeline --help` must answer at once. Exit codes: 0 done, 1 failed, 2 bad usage
or job file, 3 stopped by budget, 130 interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flows.terminal import Terminal

app = typer.Typer(
    help="Answer very large document sets on your own GPUs; send only the doubtful items to Claude.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or the run's folder or s3:// URI.")]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for programs.")]


@app.command()
def submit(
    job: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.")],
    input: Annotated[str | None, typer.Option(help="Read these documents instead of the job's.")] = None,
    output: Annotated[str | None, typer.Option(help="Write below this folder or s3:// prefix instead.")] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name the run yourself; by default the same job and input give the same run.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Who answers doubtful items: anthropic or simulation.")] = None,
    wait: Annotated[
        bool, typer.Option(help="Stay until Claude has answered, or leave once everything is sent.")
    ] = True,
    as_json: _JsonOption = False,
) -> None:
    """Run a job, or continue it: the same command after a kill does the rest."""
    from flows.terminal import Terminal

    overrides = {"input": input, "output": output, "escalation.provider": provider}
    with Terminal(as_json=as_json) as terminal:
        _submit(terminal, job, {name: value for name, value in overrides.items() if value is not None}, run_id, wait)


def _submit(terminal: Terminal, job: Path, overrides: dict[str, Any], run_id: str | None, wait: bool) -> None:
    from flows.submit import submit_job

    outcome = submit_job(job, overrides, run_id, wait, terminal.progress)
    terminal.show_outcome(outcome)
    if outcome.summary and outcome.summary.stopped_by == "budget":
        raise typer.Exit(3)


@app.command()
def status(run: _RunArgument, as_json: _JsonOption = False) -> None:
    """Show how far a run is, from what its store holds."""
    from flows.inspect import run_status
    from flows.terminal import Terminal

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_status(run_status(run))


@app.command()
def results(run: _RunArgument, as_json: _JsonOption = False) -> None:
    """Say where the result rows are, and show some; --json prints every row as a JSON line."""
    from flows.inspect import result_rows
    from flows.terminal import Terminal

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_results(*result_rows(run))


@app.command()
def cost(run: _RunArgument, as_json: _JsonOption = False) -> None:
    """Show what a run cost, by route, to the last digit."""
    from flows.inspect import run_summary
    from flows.terminal import Terminal

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_cost(run_summary(run))


@app.command()
def cancel(run: _RunArgument) -> None:
    """Send nothing more to Claude, stop what is under way, take in what was answered, and close the books."""
    from flows.submit import cancel_run
    from flows.terminal import Terminal

    with Terminal(as_json=False) as terminal:
        terminal.show_outcome(cancel_run(run, terminal.progress))


@app.command()
def collect(
    every: Annotated[
        float | None, typer.Option(help="Seconds between rounds; without it, one round over the open runs.")
    ] = None,
) -> None:
    """Take in what Claude has answered for every open run of this machine, publish it, and leave."""
    from flows.submit import quiet_third_parties
    from flows.terminal import Terminal

    quiet_third_parties()
    from flows.collect import collect_open_runs

    with Terminal(as_json=False) as terminal:
        collect_open_runs(terminal.progress, every)


@app.command()
def models(as_json: _JsonOption = False) -> None:
    """List the models a job can name."""
    from flows.terminal import Terminal
    from workers.catalogue import catalogue

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_models(catalogue().models)
