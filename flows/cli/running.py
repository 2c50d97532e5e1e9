"""Commands that bring a run further."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    AdapterOption,
    BudgetOption,
    JobArgument,
    JsonOption,
    LimitOption,
    ModelOption,
    RunArgument,
    TargetOption,
    TrustOption,
    VerboseOption,
    WaitOption,
    asked,
    trust,
)
from pipelines.routes import Stop

if TYPE_CHECKING:
    from flows.console.terminal import Terminal
    from flows.submit import SubmitOutcome

app = typer.Typer()


@app.command()
def submit(
    job: JobArgument,
    input: Annotated[str | None, typer.Option(help="Read these documents instead of the job's.")] = None,
    output: Annotated[str | None, typer.Option(help="Write below this folder or s3:// prefix instead.")] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name the run yourself; by default the same job and input give the same run.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Who answers doubtful items: anthropic or simulation.")] = None,
    limit: LimitOption = None,
    target: TargetOption = None,
    budget: BudgetOption = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    since_last: Annotated[
        bool,
        typer.Option("--since-last", help="Take only files that are new or changed since the job's last such run."),
    ] = False,
    wait: WaitOption = True,
    trust_remote_code: TrustOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a job, or continue it: the same command after a kill does the rest."""
    from flows.console.terminal import Terminal
    from flows.submit import adapt_after_run, submit_job, submit_since_last

    if since_last and run_id:
        raise typer.BadParameter("a series names its runs itself; leave one of the two out", param_hint="--run-id")
    trust(trust_remote_code)
    given = {"input": input, "output": output, "escalation.provider": provider}
    overrides: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    overrides |= asked(limit, target, budget, model, adapter)
    with Terminal(as_json=as_json) as terminal:
        if not since_last:
            show_outcome(terminal, submit_job(job, overrides, run_id, wait, terminal.progress), verbose)
            return
        outcome = submit_since_last(job, overrides, wait, terminal.progress)
        show_outcome(terminal, outcome, verbose, lambda: adapt_after_run(job, overrides, terminal.progress))


@app.command()
def estimate(
    job: JobArgument,
    limit: LimitOption = None,
    target: TargetOption = None,
    budget: BudgetOption = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Score only N documents, drawn by chance, and reckon the rest by them."),
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="With --sample: have Claude answer the sample.")] = False,
    trust_remote_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score the documents, have Claude answer a pilot, and show what targets of 0.90, 0.95 and 0.99 would cost."""
    from flows.console.terminal import Terminal
    from flows.estimate import estimate_job

    if ask and sample is None:
        raise typer.BadParameter("goes with --sample", param_hint="--ask")
    trust(trust_remote_code)
    with Terminal(as_json=as_json) as terminal:
        overrides = asked(limit, target, budget, model, adapter)
        if sample is not None:
            from flows.console.views.sample import show_sample
            from flows.estimate.sample import estimate_from_sample

            show_sample(terminal, job, estimate_from_sample(job, overrides, sample, ask, terminal.progress), as_json)
            return
        terminal.show_estimates(job, estimate_job(job, overrides, terminal.progress))


@app.command()
def calibrate(job: JobArgument, trust_remote_code: TrustOption = False) -> None:
    """Buy the labels that certify a target, and no more; `submit` goes on from there."""
    from flows.console.terminal import Terminal
    from flows.estimate import buy_labels

    trust(trust_remote_code)
    with Terminal(as_json=False) as terminal:
        terminal.show_bought(job, buy_labels(job, {}, "certify", terminal.progress).run_id)


@app.command()
def resume(
    run: RunArgument,
    wait: WaitOption = True,
    trust_remote_code: TrustOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do what is left of a run, with the job it was begun with."""
    from flows.console.terminal import Terminal
    from flows.submit import resume_run

    trust(trust_remote_code)
    with Terminal(as_json=as_json) as terminal:
        show_outcome(terminal, resume_run(run, wait, terminal.progress), verbose)


@app.command()
def cancel(run: RunArgument) -> None:
    """Send nothing more to Claude, stop what is under way, take in what was answered, and close the books."""
    from flows.console.terminal import Terminal
    from flows.submit import cancel_run

    with Terminal(as_json=False) as terminal:
        terminal.show_outcome(cancel_run(run, terminal.progress))


def show_outcome(
    terminal: Terminal,
    outcome: SubmitOutcome | None,
    verbose: bool = False,
    afterwards: Callable[[], object] = lambda: None,
) -> None:
    """Show how a run stands; a run that did not do what was asked ends the command with another code than 0.

    ``afterwards`` is done once it is shown, whatever the code will be.
    """
    if outcome is None:
        terminal.show_nothing_new()
        afterwards()
        return
    terminal.show_outcome(outcome, verbose)
    afterwards()
    if outcome.summary and outcome.summary.problem:
        raise typer.Exit(1)
    if outcome.summary and outcome.summary.stopped_by is Stop.BUDGET:
        raise typer.Exit(3)
