"""The command that turns a run's labels into an adapter for the next run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

import typer

from flows.cli.options import JsonOption

if TYPE_CHECKING:
    from pipelines.adapting.labels import Source

app = typer.Typer()


@app.command()
def adapt(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Complete runs of one job: ids, folders or URIs.")
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="ADAPTER", help="A new folder or s3:// place for the adapter.")
    ],
    sources: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="gold,people,claude",
            help="Whose labels teach it; Claude's answers only when named, see above.",
        ),
    ] = "gold,people",
    target: Annotated[
        float | None, typer.Option(help="Judge it at this target; by default at that of the newest run.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the training and of the draws by which it is judged.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a LoRA adapter from what runs have learnt; written only if it would have Claude asked less.

    Of code reviews it learns the verification alone, whether a finding is true: reviews are written as before.

    What may be trained on Claude's answers is for Anthropic's terms to say, or for those of the cloud through which
    Claude was asked. See https://support.anthropic.com/en/articles/12326764 (no legal advice).
    """
    from flows.console.terminal import Terminal

    named = _sources(sources)
    if target is not None and not 0 < target <= 1:
        raise typer.BadParameter("a share over 0 and at most 1", param_hint="--target")
    with Terminal(as_json=as_json) as terminal:
        from flows.console.views.adapted import show_adapted
        from flows.deciding.adapting import adapt as adapt_runs

        adapted = adapt_runs(runs, output, named, target, seed, terminal.progress)
        if as_json:
            terminal.show_json(adapted.as_json())
        else:
            show_adapted(adapted, terminal.progress.say)
        if not adapted.gate.is_better:
            raise typer.Exit(1)


def _sources(given: str) -> list[Source]:
    from pipelines.adapting.labels import Source

    known = [name for name in get_args(Source) if name != "engine"]
    named = [name.strip() for name in given.split(",") if name.strip()]
    if not named or set(named) - set(known):
        raise typer.BadParameter(f"some of {', '.join(known)}, with commas between", param_hint="--from")
    return [name for name in known if name in named]
