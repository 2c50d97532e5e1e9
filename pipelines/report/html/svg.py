"""Shapes of a plot and the frame they stand in; `plot.svg.jinja` writes them down. Knows nothing of runs.

All plots share one width in the units of their view box, the width of a phone: a letter is as large there as beside it,
and on a wide screen two plots stand side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

WIDTH = 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 10.0, 10.0, 36.0

Number = float | str


@dataclass(frozen=True)
class Mark:
    """One element; ``kind`` is the class that gives it a colour, ``title`` what pointing at it shows."""

    tag: Literal["rect", "path", "circle", "text", "line"]
    kind: str
    attributes: dict[str, Number]
    title: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Key:
    """One entry of a plot's legend."""

    kind: str
    text: str


@dataclass(frozen=True)
class Plot:
    """A drawing with what it shows in words: a heading, and a sentence or two on how to read it."""

    name: str
    heading: str
    reading: str
    height: float
    marks: Sequence[Mark]
    keys: Sequence[Key] = ()
    width: float = WIDTH


def text(x: float, y: float, words: str, kind: str = "label", anchor: str = "start") -> Mark:
    """Draw words at a place."""
    return Mark("text", kind, {"x": _round(x), "y": _round(y), "text-anchor": anchor}, text=words)


def rect(x: float, y: float, width: float, height: float, kind: str, title: str | None = None) -> Mark:
    """Draw a filled box."""
    sides = {"x": x, "y": y, "width": width, "height": height}
    return Mark("rect", kind, {name: _round(value) for name, value in sides.items()}, title)


def circle(x: float, y: float, radius: float, kind: str, title: str | None = None) -> Mark:
    """Draw a dot."""
    return Mark("circle", kind, {"cx": _round(x), "cy": _round(y), "r": _round(radius)}, title)


def line(x1: float, y1: float, x2: float, y2: float, kind: str, title: str | None = None) -> Mark:
    """Draw a straight line."""
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return Mark("line", kind, {name: _round(value) for name, value in ends.items()}, title)


def path(points: Sequence[tuple[float, float]], kind: str, title: str | None = None, is_closed: bool = False) -> Mark:
    """Draw a line through points."""
    steps = " L".join(f"{_round(x)} {_round(y)}" for x, y in points)
    return Mark("path", kind, {"d": f"M{steps}{' Z' if is_closed else ''}"}, title)


def ribbon(
    start: tuple[float, float], end: tuple[float, float], widths: tuple[float, float], kind: str, title: str
) -> Mark:
    """A band that flows from a place to another; ``start`` and ``end`` are its upper corners."""
    (x1, y1), (x2, y2) = ((_round(x), _round(y)) for x, y in (start, end))
    middle = _round((x1 + x2) / 2)
    low1, low2 = _round(y1 + widths[0]), _round(y2 + widths[1])
    upper = f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
    lower = f"L{x2} {low2} C{middle} {low2} {middle} {low1} {x1} {low1} Z"
    return Mark("path", kind, {"d": f"{upper} {lower}"}, title)


@dataclass
class Frame:
    """A plot's field with two axes: turns values into places, and gathers what is drawn."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    height: float = 220.0
    marks: list[Mark] = field(default_factory=list)

    def x(self, value: float) -> float:
        """Where a value of the lower axis is."""
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Where a value of the left axis is."""
        low, high = self.y_range
        return self.height - _BOTTOM - (value - low) / (high - low) * (self.height - _TOP - _BOTTOM)

    def axes(self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], below: str) -> None:
        """Grid lines with their values, and what the lower axis is."""
        left, right = self.x(self.x_range[0]), self.x(self.x_range[1])
        for value, words in y_ticks:
            self.marks.append(line(left, self.y(value), right, self.y(value), "grid"))
            self.marks.append(text(left - 4, self.y(value) + 3.5, words, "tick", "end"))
        for place, (value, words) in enumerate(x_ticks):
            is_last = place == len(x_ticks) - 1 and self.x(value) > right - 10
            self.marks.append(
                text(self.x(value), self.height - _BOTTOM + 14, words, "tick", "end" if is_last else "middle")
            )
        self.marks.append(text((left + right) / 2, self.height - 5, below, "tick", "middle"))


def round_ticks(high: float, most: int = 4) -> list[float]:
    """Round values from 0 to at least ``high``, in at most ``most`` steps."""
    power = 10.0 ** math.floor(math.log10(high)) if high > 0 else 1.0
    for part in (0.25, 0.5, 1, 2, 2.5, 5):
        steps = math.ceil(high / (power * part) - 1e-9)
        if steps <= most:
            return [power * part * step for step in range(max(steps, 1) + 1)]
    return [0.0, power * 5, power * 10]


def _round(value: float) -> float:
    return round(value, 1)
