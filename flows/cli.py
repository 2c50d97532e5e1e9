"""The `pipeline` command. Thin: every command names the function that does the work.

Nothing heavy is imported at the top: `pipeline --help` must answer at once. Exit codes: 0 done, 1 failed, 2 bad usage
or job file, 3 stopped by budget; 130, 143 and 129 ended by Ctrl-C, SIGTERM and a closed terminal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flows.console.interruption import interruption
from flows.quiet import quiet_third_parties
from pipelines.routes import Stop

if Path(sys.argv[0]).stem == "pipeline":  # before anything slow is imported: Ctrl-C would show a traceback meanwhile
    interruption.install()

import typer

if TYPE_CHECKING:
    from flows.console.terminal import Terminal
    from flows.submit import Outcome

app = typer.Typer(
    help="Answer very large document sets on your own GPUs; send only the doubtful items to Claude.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 failed; 2 bad usage, job file or run; 3 stopped by the budget; 129, 130, 143 ended "
    "by a closed terminal, Ctrl-C, SIGTERM: the same command does the rest.",
)

_RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or the run's folder or s3:// URI.")]
_JobArgument = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.")]
_WaitOption = Annotated[bool, typer.Option(help="Stay until Claude has answered, or leave once everything is sent.")]
_TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Let the engine run code that the job or its model brings along, with all that you may do here.",
    ),
]
_LimitOption = Annotated[
    int | None, typer.Option(min=1, help="Read only the first N documents; another run than the whole.")
]
_TargetOption = Annotated[
    float | None, typer.Option(help="Agree with Claude on this share, instead of the job's quality.")
]
_BudgetOption = Annotated[str | None, typer.Option(metavar="USD", help="The most that Claude may cost, instead.")]
_ModelOption = Annotated[str | None, typer.Option(metavar="NAME", help="A model of `pipeline models`, instead.")]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for programs.")]


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"sluice {version('sluice')}")
        raise typer.Exit


@app.callback()
def before_any_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Nothing of a third party is imported yet."""
    quiet_third_parties()


@app.command()
def init(
    documents: Annotated[
        str, typer.Argument(metavar="FILE|FOLDER|s3://...", help="Your documents, as a job would name them.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="JOB.yaml", help="The file to write; never overwritten.")
    ] = None,
) -> None:
    """Write a first job file from your own documents: columns and labels are guessed, or asked for."""
    from flows.console.asking import Asker
    from flows.console.terminal import Terminal
    from flows.preflight.drafting import draft_from_documents

    with Terminal(as_json=False, keep_output=True) as terminal:
        terminal.show_drafted(draft_from_documents(documents, output, Asker(terminal.progress.say)))


@app.command()
def doctor(
    job: Annotated[Path | None, typer.Argument(metavar="JOB.yaml", help="A job to look at, too.")] = None,
    as_json: _JsonOption = False,
) -> None:
    """Say whether a run could start here, and what mends what is wrong; nothing is started."""
    from flows.console.terminal import Terminal
    from flows.preflight.doctor import examine

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        diagnosis = examine(job)
        terminal.show_diagnosis(diagnosis)
        if not diagnosis.could_start:
            raise typer.Exit(1)


@app.command()
def submit(
    job: _JobArgument,
    input: Annotated[str | None, typer.Option(help="Read these documents instead of the job's.")] = None,
    output: Annotated[str | None, typer.Option(help="Write below this folder or s3:// prefix instead.")] = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name the run yourself; by default the same job and input give the same run.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Who answers doubtful items: anthropic or simulation.")] = None,
    limit: _LimitOption = None,
    target: _TargetOption = None,
    budget: _BudgetOption = None,
    model: _ModelOption = None,
    since_last: Annotated[
        bool,
        typer.Option("--since-last", help="Take only files that are new or changed since the job's last such run."),
    ] = False,
    wait: _WaitOption = True,
    trust_remote_code: _TrustOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Run a job, or continue it: the same command after a kill does the rest."""
    from flows.console.terminal import Terminal
    from flows.submit import submit_job, submit_since_last

    if since_last and run_id:
        raise typer.BadParameter("a series names its runs itself; leave one of the two out", param_hint="--run-id")
    _trust(trust_remote_code)
    given = {"input": input, "output": output, "escalation.provider": provider}
    overrides: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    overrides |= _asked(limit, target, budget, model)
    with Terminal(as_json=as_json) as terminal:
        if since_last:
            outcome = submit_since_last(job, overrides, wait, terminal.progress)
        else:
            outcome = submit_job(job, overrides, run_id, wait, terminal.progress)
        _show_outcome(terminal, outcome)


@app.command()
def estimate(
    job: _JobArgument,
    limit: _LimitOption = None,
    target: _TargetOption = None,
    budget: _BudgetOption = None,
    model: _ModelOption = None,
    trust_remote_code: _TrustOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Score the documents, have Claude answer a pilot, and show what targets of 0.90, 0.95 and 0.99 would cost."""
    from flows.console.terminal import Terminal
    from flows.estimate import estimate_job

    _trust(trust_remote_code)
    with Terminal(as_json=as_json) as terminal:
        overrides = _asked(limit, target, budget, model)
        terminal.show_estimates(job, estimate_job(job, overrides, terminal.progress))


@app.command()
def calibrate(job: _JobArgument, trust_remote_code: _TrustOption = False) -> None:
    """Buy the labels that certify a target, and no more; `submit` goes on from there."""
    from flows.console.terminal import Terminal
    from flows.estimate import buy_labels

    _trust(trust_remote_code)
    with Terminal(as_json=False) as terminal:
        terminal.show_bought(job, buy_labels(job, {}, "certify", terminal.progress).run_id)


@app.command()
def resume(
    run: _RunArgument,
    wait: _WaitOption = True,
    trust_remote_code: _TrustOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Do what is left of a run, with the job it was begun with."""
    from flows.console.terminal import Terminal
    from flows.submit import resume_run

    _trust(trust_remote_code)
    with Terminal(as_json=as_json) as terminal:
        _show_outcome(terminal, resume_run(run, wait, terminal.progress))


def _asked(limit: int | None, target: float | None, budget: str | None, model: str | None) -> dict[str, object]:
    """What stands in place of the job's own fields."""
    given = {"limits.documents": limit, "quality.target": target, "budget_usd": budget, "model": model}
    asked: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    return asked if target is None else asked | {"quality.raw_threshold": None}  # one dial


def _trust(remote_code: bool) -> None:
    if remote_code:
        from pipelines.settings import trust_remote_code

        trust_remote_code()


def _show_outcome(terminal: Terminal, outcome: Outcome | None) -> None:
    if outcome is None:
        terminal.show_nothing_new()
        return
    terminal.show_outcome(outcome)
    if outcome.summary and outcome.summary.problem:
        raise typer.Exit(1)
    if outcome.summary and outcome.summary.stopped_by is Stop.BUDGET:
        raise typer.Exit(3)


@app.command()
def runs(
    where: Annotated[
        str | None,
        typer.Argument(metavar="[OUTPUT]", help="A job's output; by default, all runs started on this machine."),
    ] = None,
    as_json: _JsonOption = False,
) -> None:
    """List runs, the newest first: state, items, cost, and when they were begun."""
    from flows.console.terminal import Terminal
    from flows.service.run_list import list_runs

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_runs(list_runs(where))


@app.command()
def status(run: _RunArgument, as_json: _JsonOption = False) -> None:
    """Show how far a run is, from what its store holds."""
    from flows.console.terminal import Terminal
    from flows.inspect import run_status

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_status(run_status(run))


@app.command()
def results(
    run: _RunArgument,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print a code review's findings as SARIF 2.1.0.")] = False,
    baseline: Annotated[
        str | None, typer.Option(metavar="SARIF|RUN", help="With --sarif: only findings that this one does not have.")
    ] = None,
    faults: Annotated[
        str | None, typer.Option(metavar="FILE", help="Measure a code review's findings against these known faults.")
    ] = None,
    as_json: _JsonOption = False,
) -> None:
    """Say where the result rows are, and show some; --json prints every row as a JSON line."""
    from flows.console.terminal import Terminal
    from flows.inspect import result_rows

    if baseline and not sarif:
        raise typer.BadParameter("goes with --sarif", param_hint="--baseline")
    with Terminal(as_json=as_json, keep_output=True) as terminal:
        if sarif or faults:
            from flows.stages.review import run_evaluation, run_sarif

            if sarif:
                encoded, warnings = run_sarif(run, baseline)
                terminal.show_document(encoded.decode(), warnings)
            if faults:
                terminal.show_document(run_evaluation(run, faults), [])
            return
        terminal.show_results(*result_rows(run))


@app.command()
def cost(run: _RunArgument, as_json: _JsonOption = False) -> None:
    """Show what a run cost, by route, to the last digit."""
    from flows.console.terminal import Terminal
    from flows.inspect import run_summary

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_cost(run_summary(run))


@app.command()
def cancel(run: _RunArgument) -> None:
    """Send nothing more to Claude, stop what is under way, take in what was answered, and close the books."""
    from flows.console.terminal import Terminal
    from flows.submit import cancel_run

    with Terminal(as_json=False) as terminal:
        terminal.show_outcome(cancel_run(run, terminal.progress))


@app.command()
def collect(
    every: Annotated[
        float | None, typer.Option(help="Seconds between rounds; without it, one round over the open runs.")
    ] = None,
) -> None:
    """Take in what Claude has answered for every open run of this machine, publish it, and leave."""
    from flows.console.terminal import Terminal
    from flows.service.collect import collect_open_runs

    with Terminal(as_json=False) as terminal:
        if collect_open_runs(terminal.progress, every):
            raise typer.Exit(1)


@app.command()
def listen(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Local folder or s3://bucket/prefix to watch.")],
    job: Annotated[Path, typer.Option(help="The job that is done for each file.")],
    queue: Annotated[
        str | None, typer.Option(help="URL of the SQS queue that the bucket notifies; without it the folder is listed.")
    ] = None,
    poll_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds between listings where there is no queue; 10 by default.")
    ] = None,
    prefect: Annotated[
        bool, typer.Option("--prefect", help="Leave the runs to Prefect's workers; by default they are processed here.")
    ] = False,
    job_files: Annotated[
        bool,
        typer.Option(
            "--job-files",
            help="Do the nearest *.job.yaml beside or above a file instead, if it asks for no more than JOB does.",
        ),
    ] = False,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE[@REVISION]",
            help="With --job-files: a model that they may name besides those of `pipeline models`; again for more.",
        ),
    ] = None,
    outputs_below: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="With --job-files: where they may write; by default below the output of JOB."
        ),
    ] = None,
    trust_remote_code: _TrustOption = False,
) -> None:
    """Start a run for every file that is dropped into a folder, until stopped."""
    from flows.console.terminal import Terminal

    if not job_files and (allow_model or outputs_below):
        raise typer.BadParameter("goes with --job-files", param_hint="--allow-model, --outputs-below")
    _trust(trust_remote_code)
    from flows.drop_folder.job_rules import JobFileOptions
    from flows.drop_folder.listener import listen_to
    from flows.drop_folder.starters import StartHere, StartInPrefect

    with Terminal(as_json=False) as terminal:
        starter = StartInPrefect() if prefect else StartHere()
        bounds = JobFileOptions(frozenset(allow_model or ()), outputs_below) if job_files else None
        listen_to(folder, job, queue, poll_seconds, starter, terminal.progress.say, bounds)


@app.command()
def deploy(
    job: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.")],
    cron: Annotated[
        str | None, typer.Option(help="When to take the files that are new, in UTC, such as '0 3 * * *'.")
    ] = None,
    watch: Annotated[str | None, typer.Option(help="The folder or s3:// prefix whose new files start runs.")] = None,
    work_pool: Annotated[
        str, typer.Option(help="Whose Prefect workers do the work; made if it is missing.")
    ] = "sluice",
    trust_remote_code: _TrustOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Have a Prefect server run the job by itself, and start again what dies; again, to update it."""
    from flows.console.terminal import Terminal

    if cron is None and watch is None:
        raise typer.BadParameter("say when the job is to run: --cron, --watch, or both")
    _trust(trust_remote_code)
    with Terminal(as_json=as_json) as terminal:
        from flows.service.deploy import deploy_job

        terminal.show_deployed(deploy_job(job, cron, watch, work_pool))


@app.command()
def models(as_json: _JsonOption = False) -> None:
    """List the models a job can name."""
    from flows.console.terminal import Terminal
    from workers.engines.catalogue import catalogue

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        terminal.show_models(catalogue().models)
