"""How much of the bare engine's speed is left once Ray, Arrow and commits are around it, and what usual code gets.

``python -m tests.bench.scoring``. Engines are started and warm before the clock runs. Same model, same prompts, same
engine arguments; each round starts fresh engines for every row, in another order. Ratios are taken within a round,
so that a slow minute of the machine harms both sides; the absolute figures are this machine's alone.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.children import ask, busy_cores, machine, remark
from tests.bench.scoring_rows import ROWS, Timing
from tests.bench.workload import Workload, make_workload

_JSON_CHAT, _FASTEST, _ = ROWS


def main(words: Sequence[str] | None = None) -> dict[str, float]:
    """Measure, print, and return the medians of what is compared."""
    arguments = _parser().parse_args(words)
    console = Console(highlight=False, width=150)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        workload = make_workload(folder, arguments.documents, arguments.model, arguments.eager)
        mode = "eager" if arguments.eager else "compiled"
        console.print(f"{arguments.model}, {mode}; {machine(busy_cores())}")
        rounds = [_round(workload, folder / f"round-{number}", number, console) for number in range(arguments.rounds)]
    console.print(_table(rounds))
    ratios = {row: statistics.median(_ratios(rounds, row, _FASTEST)) for row in ROWS}
    return {f"{row}, items/s x {_FASTEST}": ratio for row, ratio in ratios.items()}


def _round(workload: Workload, folder: Path, number: int, console: Console) -> dict[str, Timing]:
    """Every row once, each on a copy of the planned run; starting with another row each time."""
    timings = {}
    names = list(ROWS)
    for row in names[number % len(names) :] + names[: number % len(names)]:
        home = folder / row.replace(" ", "-").replace(",", "")
        copy = home / "run"
        shutil.copytree(workload.run.store.root, copy)
        busy = busy_cores()
        timings[row] = Timing(**ask("scoring_rows", [row, copy], home))
        timing = timings[row]
        speed = timing.items / timing.seconds
        what = f"{row:<22} {timing.items:,} items in {timing.seconds:6.2f} s: {speed:4.0f}/s"
        console.print(f"round {number + 1}  {what}{remark(busy)}")
    return timings


def _table(rounds: Sequence[dict[str, Timing]]) -> Table:
    table = Table("row", "items/s", "prompt tokens/s", "answer tokens", f"x {_FASTEST}", f"x {_JSON_CHAT}")
    for row in ROWS:
        timings = [timings[row] for timings in rounds]
        table.add_row(
            row,
            _spread([timing.items / timing.seconds for timing in timings], "{:,.0f}".format),
            f"{statistics.median(timing.prompt_tokens / timing.seconds for timing in timings):,.0f}",
            f"{timings[0].output_tokens / timings[0].items:.1f}",
            *(_spread(_ratios(rounds, row, other), "{:.2f}".format) for other in (_FASTEST, _JSON_CHAT)),
        )
    table.caption = f"median (smallest-largest) of {len(rounds)} rounds; ratios are taken within a round"
    return table


def _ratios(rounds: Sequence[dict[str, Timing]], row: str, other: str) -> list[float]:
    """Speed of one row in units of another's, round by round."""
    return [
        (timings[row].items / timings[row].seconds) / (timings[other].items / timings[other].seconds)
        for timings in rounds
    ]


def _spread(values: Sequence[float], show: Callable[[float], str]) -> str:
    return f"{show(statistics.median(values))} ({show(min(values))}-{show(max(values))})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=4_000, help="measured ones; about an eighth more warms up")
    parser.add_argument("--model", default="starter", help="a name in the catalogue, or a model's folder")
    parser.set_defaults(eager=False)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--compile", dest="eager", action="store_false", help="vLLM's default, and the product's for long runs"
    )
    mode.add_argument("--eager", action="store_true", help="the product's choice for short runs on a CPU")
    return parser


if __name__ == "__main__":
    main()
