"""Commands that run jobs unattended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import JsonOption, TrustOption, trust

app = typer.Typer()


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
    trust_remote_code: TrustOption = False,
) -> None:
    """Start a run for every file that is dropped into a folder, until stopped."""
    from flows.console.terminal import Terminal

    if not job_files and (allow_model or outputs_below):
        raise typer.BadParameter("goes with --job-files", param_hint="--allow-model, --outputs-below")
    trust(trust_remote_code)
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
    trust_remote_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Have a Prefect server run the job by itself, and start again what dies; again, to update it."""
    from flows.console.terminal import Terminal

    if cron is None and watch is None:
        raise typer.BadParameter("say when the job is to run: --cron, --watch, or both")
    trust(trust_remote_code)
    with Terminal(as_json=as_json) as terminal:
        from flows.service.deploy import deploy_job

        terminal.show_deployed(deploy_job(job, cron, watch, work_pool))
