"""Arguments and options that several commands take, and what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or the run's folder or s3:// URI.")]
JobArgument = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.")]
WaitOption = Annotated[bool, typer.Option(help="Stay until Claude has answered, or leave once everything is sent.")]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Let the engine run code that the job or its model brings along, with all that you may do here.",
    ),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", help="At the end, also every cost, reason and word of what was promised.")
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="Read only the first N documents; another run than the whole.")
]
TargetOption = Annotated[
    float | None, typer.Option(help="Agree with Claude on this share, instead of the job's quality.")
]
BudgetOption = Annotated[str | None, typer.Option(metavar="USD", help="The most that Claude may cost, instead.")]
ModelOption = Annotated[str | None, typer.Option(metavar="NAME", help="A model of `pipeline models`, instead.")]
AdapterOption = Annotated[
    str | None, typer.Option(metavar="PLACE", help="A LoRA adapter over the job's model, such as `adapt` wrote.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for programs.")]


def asked(
    limit: int | None, target: float | None, budget: str | None, model: str | None, adapter: str | None
) -> dict[str, object]:
    """What stands in place of the job's own fields."""
    given = {"limits.documents": limit, "quality.target": target, "budget_usd": budget, "model": model}
    given["model.adapter"] = adapter  # over that model
    fields: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    return fields if target is None else fields | {"quality.raw_threshold": None}  # one dial


def trust(remote_code: bool) -> None:
    """Let the engine run code that a model brings along, if that is allowed."""
    if remote_code:
        from pipelines.settings import trust_remote_code

        trust_remote_code()
