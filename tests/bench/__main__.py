"""All benchmarks of speed, one after the other, and what they compare in one table.

``python -m tests.bench [--out FOLDER] [--only NAME ...]``. Each prints its own tables as it goes; the ratios, with
machine, versions and commit, are saved as ``bench.json`` and ``bench.md`` after each, so that a break keeps the rest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import growth, reviews, scoring, startup, wall
from tests.bench.children import busy_cores
from tests.bench.provenance import as_lines, markdown, provenance

_BENCHMARKS: Mapping[str, Callable[[Sequence[str]], dict[str, float]]] = {
    "scoring": scoring.main,
    "reviews": reviews.main,
    "wall": wall.main,
    "startup": startup.main,
    "growth": growth.main,
}


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--only", nargs="+", choices=list(_BENCHMARKS), default=list(_BENCHMARKS))
    arguments = parser.parse_args(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    facts, figures = provenance(busy_cores()), dict[str, dict[str, float]]()
    for name in arguments.only:
        figures[name] = _BENCHMARKS[name](["--out", str(arguments.out)] if name == "growth" else [])
        report = json.dumps({**facts, "figures": figures}, indent=2)
        (arguments.out / "bench.json").write_text(report + "\n", encoding="utf-8")
        cells = [[name, what, f"{value:,.2f}"] for name, found in figures.items() for what, value in found.items()]
        text = f"{markdown(['benchmark', 'figure', 'median'], cells)}\n\n{as_lines(facts)}\n"
        (arguments.out / "bench.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
