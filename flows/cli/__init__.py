"""The `pipeline` command. Thin: every command names the function that does the work.

Nothing heavy is imported at the top: `pipeline --help` must answer at once. Exit codes: 0 done, 1 failed, 2 bad usage
or job file, 3 stopped by budget; 130, 143 and 129 ended by Ctrl-C, SIGTERM and a closed terminal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from flows.console.interruption import interruption
from flows.quiet import quiet_third_parties

if Path(sys.argv[0]).stem == "pipeline":  # before anything slow is imported: Ctrl-C would show a traceback meanwhile
    interruption.install()

import typer

from flows.cli import adapting, answering, beginning, looking, models, running, serving

app = typer.Typer(
    help="Answer very large document sets on your own GPUs; send only the doubtful items to Claude.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 failed; 2 bad usage, job file or run; 3 stopped by the budget; 129, 130, 143 ended "
    "by a closed terminal, Ctrl-C, SIGTERM: the same command does the rest.",
)


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


for commands in (beginning, running, adapting, looking, answering, models, serving):
    app.add_typer(commands.app)
