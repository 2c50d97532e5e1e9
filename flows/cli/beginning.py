"""Commands before the first run: a job file, and a look at the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import JsonOption

app = typer.Typer()


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
    as_json: JsonOption = False,
) -> None:
    """Say whether a run could start here, and what mends what is wrong; nothing is started."""
    from flows.console.terminal import Terminal
    from flows.preflight.doctor import examine

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        diagnosis = examine(job)
        terminal.show_diagnosis(diagnosis)
        if not diagnosis.could_start:
            raise typer.Exit(1)
