"""`pipeline models`: what a job can name, and what of it fits the machines at hand."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import JsonOption

app = typer.Typer()
models = typer.Typer(invoke_without_command=True)
app.add_typer(models, name="models")


@models.callback()
def list_models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models a job can name, and Claude beside them; `models check` says which fit here."""
    if context.invoked_subcommand:
        return
    from flows.console.terminal import Terminal
    from flows.console.views.models import show_models

    with Terminal(as_json=as_json, keep_output=True) as terminal:
        show_models(terminal, as_json=as_json)


@models.command()
def check(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One model, with all that is known of it; or a HF id.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what fits this machine, or the cluster of RAY_ADDRESS, and what would fit; exit code 1 if NAME does not."""
    from flows.console.terminal import Terminal
    from flows.console.views.models import show_fits
    from flows.preflight.model_checks import look_at_models
    from pipelines.settings import settings

    with Terminal(as_json=as_json, keep_output=settings().ray_address is None) as terminal:
        found = look_at_models(name)
        show_fits(terminal, found, as_json=as_json)
        if name and not found.fits[name].engines:
            raise typer.Exit(1)
