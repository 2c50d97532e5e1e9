"""Items on their way to their routes, as bands whose numbers add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pipelines.report.html.svg import Mark, Plot, rect, ribbon, text
from pipelines.report.numbers import count, share
from pipelines.results import ROUTES
from pipelines.routes import Route

_HEIGHT, _TOP, _THICKNESS = 190.0, 22.0, 10.0
_GAP, _LEAST = 30.0, 3.0  # room for the two lines of a node's words; what is not nothing is seen
_COLUMNS = (2.0, 112.0, 246.0)

_ALL = "all"
_STEPS = {"engine": "engine alone", "claude": "Claude asked", "nobody": "nobody asked"}
_OF_ROUTE = {
    Route.ACCEPTED: "accepted",
    Route.ESCALATED: "escalated",
    Route.REVIEW: "review",
    Route.WITHHELD: "withheld",
    Route.FAILED: "failed",
}


def flow_plot(fates: Mapping[tuple[str, bool], int]) -> Plot | None:
    """From all items over who was asked to the routes; None of a run without items."""
    links: Counter[tuple[str, str]] = Counter()
    for (route, was_asked), items in fates.items():
        step = "claude" if was_asked else "engine" if route == Route.ACCEPTED else "nobody"
        links[_ALL, step] += items
        links[step, route] += items
    total = sum(fates.values())
    if not total:
        return None
    columns = [[_ALL], list(_STEPS), [str(route) for route in ROUTES]]
    sizes = [
        {name: sum(n for ends, n in links.items() if ends[place > 0] == name) for name in column}
        for place, column in enumerate(columns)
    ]
    boxes = [_stack({name: items for name, items in sized.items() if items}, total) for sized in sizes]
    marks = list(_ribbons(links, boxes, total))
    for place, box in enumerate(boxes):
        for name, (top, height) in box.items():
            kind = "all" if name == _ALL else name
            marks += _node(_COLUMNS[place], top, height, kind, sizes[place][name], total)
    return Plot(
        "flow",
        "Where the items went",
        " + ".join(f"{sizes[2][str(route)]:,} {route}" for route in ROUTES) + f" = {count(total, 'item')}.",
        _TOP + _HEIGHT + 14,
        marks,
    )


def _stack(sizes: Mapping[str, int], total: int) -> dict[str, tuple[float, float]]:
    """Top and height of each node of a column."""
    room = _HEIGHT - _GAP * (len(sizes) - 1)
    heights = {name: max(_LEAST, items / total * room) for name, items in sizes.items()}
    scale = room / max(sum(heights.values()), room)
    boxes, at = {}, _TOP
    for name, height in heights.items():
        boxes[name] = (at, height * scale)
        at += height * scale + _GAP
    return boxes


def _ribbons(
    links: Mapping[tuple[str, str], int], boxes: list[dict[str, tuple[float, float]]], total: int
) -> list[Mark]:
    """One for each link, stacked at both ends in the order of the nodes."""
    marks = []
    for place in (0, 1):
        left, right = boxes[place], boxes[place + 1]
        out = {name: top for name, (top, _) in left.items()}
        into = {name: top for name, (top, _) in right.items()}
        ends = {name: sum(n for link, n in links.items() if link[0] == name) for name in left}
        starts = {name: sum(n for link, n in links.items() if link[1] == name) for name in right}
        for source in left:
            for target in right:
                if items := links.get((source, target), 0):
                    wide = left[source][1] * items / ends[source], right[target][1] * items / starts[target]
                    title = f"{count(items, 'item')} ({share(items, total)}): {_words(target)}"
                    start = (_COLUMNS[place] + _THICKNESS, out[source])
                    marks.append(ribbon(start, (_COLUMNS[place + 1], into[target]), wide, f"flow {target}", title))
                    out[source] += wide[0]
                    into[target] += wide[1]
    return marks


def _node(x: float, top: float, height: float, kind: str, items: int, total: int) -> list[Mark]:
    title = f"{_words(kind)}: {count(items, 'item')}, {share(items, total)}"
    box = rect(x, top, _THICKNESS, height, kind, title)
    if kind == _ALL:
        return [box, text(x, top - 8, count(items, "item"), "label strong")]
    middle = top + height / 2
    beside = x + _THICKNESS + 5
    return [
        box,
        text(beside, middle - 2, _words(kind), "label halo"),
        text(beside, middle + 11, f"{items:,} ({share(items, total)})", "label halo strong"),
    ]


def _words(kind: str) -> str:
    return {_ALL: "all"}.get(kind) or _STEPS.get(kind) or kind
