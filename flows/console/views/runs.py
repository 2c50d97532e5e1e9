"""What a person sees of `pipeline runs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.console.printable import printable_line

if TYPE_CHECKING:
    from flows.service.run_list import RunLine


def show_runs(runs: Sequence[RunLine], console: Console) -> None:
    """Print a table with one line a run."""
    if not runs:
        console.print("no run yet: `pipeline submit JOB.yaml` starts one", markup=False)
        return
    table = Table("run", "state", "items", "cost USD", "begun")
    table.columns[0].no_wrap = True  # an id is copied
    table.columns[1].overflow = "fold"
    for column in table.columns[2:4]:
        column.justify = "right"
    for run in runs:
        begun = f"{run.begun_at:%Y-%m-%d %H:%M}" if run.begun_at else "-"
        cost = "-" if run.cost_usd is None else f"{run.cost_usd:,.4f}"
        items = "-" if run.items is None else f"{run.items:,}"
        table.add_row(*(Text(printable_line(cell)) for cell in (run.name, run.state, items, cost, begun)))
    console.print(table)
