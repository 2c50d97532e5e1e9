"""The command by which people answer what is left to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import JsonOption, RunArgument

app = typer.Typer()


@app.command()
def review(
    run: RunArgument,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.csv|.parquet|FOLDER/", help="Write the items that wait; a folder is for Label Studio."
        ),
    ] = None,
    filled: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Take the answers of such a file, all or none.")
    ] = None,
    person: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who answers; by default the account.")
    ] = None,
    withheld: Annotated[
        bool, typer.Option("--withheld", help="Also items that a policy withheld from Claude.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Also items that are answered, to change answers.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer what a run left in `review`: one by one in a terminal, or by way of a file."""
    if export and filled:
        raise typer.BadParameter("one of the two at a time", param_hint="--export, --import")
    if filled and (withheld or again):
        raise typer.BadParameter("the file says what is answered", param_hint="--withheld, --again")
    from flows.console.terminal import Terminal
    from flows.console.views.review import review_run

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        review_run(
            terminal,
            run,
            export=export,
            filled=filled,
            person=person,
            with_withheld=withheld,
            with_answered=again,
            as_json=as_json,
        )
