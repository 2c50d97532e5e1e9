"""The figures of a run that its page draws: gathered from the result rows a part at a time, in bounded memory.

In: tables of `COLUMNS`. Out: `Figures`, whose size does not grow with the run. Knows nothing of stores and pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.results import ROUTES
from pipelines.routes import Route
from pipelines.store.schemas import DUPLICATE_OF, USE_THREADS

CELLS = 200  # of a histogram, from 0 to 1
SAMPLES = 5  # of each route
_MOST_BINS = 4_096  # of the time line; more are put together two by two
_MOST_CHANGES = 10_000  # kinds of "engine said, Claude said"; a job has few labels, an odd one many
_FIRST_BIN_MICROSECONDS = 100_000

_TOKENS = (
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "api_input_tokens",
    "api_cached_tokens",
    "api_output_tokens",
)
_SAMPLED = [
    "item_id",
    "document_id",
    "route",
    "engine_answer",
    "answer",
    "confidence",
    "raw_prob",
    "reason",
    "cost_usd",
    DUPLICATE_OF,
]
COLUMNS = [*_SAMPLED, "gold_label", "scored_at", *_TOKENS]


@dataclass
class LabelFigures:
    """Of one label: what the engine and Claude made of it; ``right`` and ``known`` are against gold labels."""

    engine: int = 0
    asked: int = 0
    agreed: int = 0
    final: int = 0
    known: int = 0
    right: int = 0


@dataclass
class TimeLine:
    """How many items were scored when; bins double in width as a run gets longer."""

    width: int = _FIRST_BIN_MICROSECONDS
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, times: pa.ChunkedArray[Any]) -> None:
        """Count the times at which items were scored; ``times`` are of type timestamp[us]."""
        known = times.drop_null().cast(pa.int64()).to_numpy()
        bins, counts = np.unique(known // self.width, return_counts=True)
        self.counts.update(dict(zip(bins.tolist(), counts.tolist(), strict=True)))
        while len(self.counts) > _MOST_BINS:
            self.width *= 2
            halved: Counter[int] = Counter()
            for bin_, count in self.counts.items():
                halved[bin_ // 2] += count
            self.counts = halved

    def rebinned(self, most: int) -> tuple[float, list[int]]:
        """Seconds a bin, and the items of each, first to last; at most ``most`` bins."""
        if not self.counts:
            return 0.0, []
        first, last = min(self.counts), max(self.counts)
        step = -(-(last - first + 1) // most)
        bins = [0] * ((last - first) // step + 1)
        for bin_, count in self.counts.items():
            bins[(bin_ - first) // step] += count
        return step * self.width / 1e6, bins


@dataclass
class Figures:
    """Sums and counts of the rows so far."""

    items: int = 0
    # By route and by whether Claude was asked.
    fates: Counter[tuple[str, bool]] = field(default_factory=Counter)
    labels: dict[str, LabelFigures] = field(default_factory=dict)
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)  # engine's answer, Claude's other one
    tokens: Counter[str] = field(default_factory=Counter)
    time_line: TimeLine = field(default_factory=TimeLine)
    # The engine's raw probability: of what it kept, what Claude was asked, and the rest.
    raw_prob: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        """Take the rows of one part; columns `COLUMNS`."""
        self.items += len(table)
        asked = pc.is_valid(table["api_input_tokens"])
        self._count_answers(table, asked)
        for name in _TOKENS:
            self.tokens[name] += pc.sum(table[name]).as_py() or 0
        self.time_line.add(table["scored_at"])
        accepted = pc.equal(table["route"], pa.scalar(Route.ACCEPTED))
        kinds = {
            "engine": pc.and_(accepted, pc.invert(asked)),
            "claude": asked,
            "nobody": pc.and_(pc.invert(accepted), pc.invert(asked)),
        }
        for kind, mask in kinds.items():
            self._add_histogram(kind, table["raw_prob"].filter(mask))
        for route in ROUTES:
            self._sample(route, table)

    def _count_answers(self, table: pa.Table, asked: pa.ChunkedArray[Any] | pa.Array[Any]) -> None:
        keys = table.select(["route", "engine_answer", "answer"])
        keys = keys.append_column("asked", asked)
        keys = keys.append_column("is_right", pc.equal(table["answer"], table["gold_label"]))
        for row in keys.group_by(keys.column_names, use_threads=USE_THREADS).aggregate([([], "count_all")]).to_pylist():
            count, engine, answer = row["count_all"], row["engine_answer"], row["answer"]
            self.fates[row["route"], row["asked"]] += count
            if engine is not None:
                label = self._label(engine)
                label.engine += count
                if row["asked"] and answer is not None:
                    label.asked += count
                    label.agreed += count if engine == answer else 0
                    if engine != answer and ((engine, answer) in self.changes or len(self.changes) < _MOST_CHANGES):
                        self.changes[engine, answer] += count
            if answer is not None:
                label = self._label(answer)
                label.final += count
                if row["is_right"] is not None:
                    label.known += count
                    label.right += count if row["is_right"] else 0

    def _label(self, name: str) -> LabelFigures:
        return self.labels.setdefault(name, LabelFigures())

    def _add_histogram(self, kind: str, values: pa.ChunkedArray[Any]) -> None:
        self.raw_prob[kind] = self.raw_prob.get(kind, np.zeros(CELLS, np.int64)) + histogram(values)

    def _sample(self, route: str, table: pa.Table) -> None:
        """Keep the rows of the smallest ids: ids are digests, so that is a draw, and always the same one."""
        kept = self.samples.get(route, [])
        mask = pc.equal(table["route"], pa.scalar(route))
        if len(kept) == SAMPLES:
            mask = pc.and_(mask, pc.less(table["item_id"], pa.scalar(kept[-1]["item_id"])))
        found = table.select(_SAMPLED).filter(mask)
        if len(found):
            nearest = found.sort_by("item_id").slice(0, SAMPLES)
            self.samples[route] = sorted([*kept, *nearest.to_pylist()], key=lambda row: row["item_id"])[:SAMPLES]


def histogram(values: pa.ChunkedArray[Any] | pa.Array[Any]) -> NDArray[np.int64]:
    """Counts of values from 0 to 1, in `CELLS` cells; nulls are left out."""
    numbers = values.drop_null().to_numpy()
    cells = np.clip((numbers * CELLS).astype(np.int64), 0, CELLS - 1)
    counts: NDArray[np.int64] = np.bincount(cells, minlength=CELLS)
    return counts


def gather(tables: Iterable[pa.Table]) -> Figures:
    """Add up the page's figures over all result parts, one part in memory at a time."""
    figures = Figures()
    for table in tables:
        figures.add(table)
    return figures
