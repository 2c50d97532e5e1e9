"""The plots of a run's page, from its figures and its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.report.first_costs import first_cost_usd
from pipelines.report.html.figures import CELLS, Figures
from pipelines.report.html.svg import WIDTH, Frame, Key, Plot, circle, line, path, rect, round_ticks, text
from pipelines.report.numbers import UNKNOWN, count, short_usd
from pipelines.report.summary import Summary

_SHARES = [(0.0, "0%"), (0.25, "25%"), (0.5, "50%"), (0.75, "75%"), (1.0, "100%")]
_TIME_BINS = 48
_HISTOGRAM_BINS = 30


def cost_plot(summary: Summary) -> Plot | None:
    """This run beside one in which Claude is asked about everything; None where neither is known."""
    everything, parts = summary.all_claude_cost_usd, (first_cost_usd(summary), summary.api_cost_usd)
    highest = max([everything or 0, sum(part or 0 for part in parts)])
    if not highest:
        return None
    marks = []
    rows: list[tuple[str, list[tuple[str, str, Any]]]] = [
        ("this run", [("engine", "engine", parts[0]), ("claude", "Claude", parts[1])]),
        ("all by Claude", [("claude", "Claude", everything)]),
    ]
    for row, (name, bars) in enumerate(rows):
        top, at = 6 + row * 48.0, 0.0
        known = [amount for _, _, amount in bars if amount is not None]
        total = short_usd(sum(known)) + " USD" if len(known) == len(bars) else UNKNOWN
        if len(known) != len(bars) and known:
            total += f"; what is known, {short_usd(sum(known))} USD"
        marks.append(text(0, top + 10, f"{name}: {total}", "label strong"))
        for kind, whose, amount in bars:
            if amount:
                width = float(amount / highest) * WIDTH
                marks.append(rect(at, top + 16, width, 20, kind, f"{name}, {whose}: {short_usd(amount)} USD"))
                at += width
    return Plot(
        "cost",
        "Cost beside all-Claude",
        "What the run cost, and what asking Claude about every readable item would come to by what those asked cost.",
        96,
        marks,
        (Key("engine", "engine"), Key("claude", "Claude")),
    )


def curve_plot(summary: Summary) -> Plot | str:
    """Agreement against the share of items asked; or why it cannot be drawn.

    The labels that the rule bought before it was known what may stand, in bins by confidence, stand for all items, each
    bin for its share: to ask about the least sure k bins puts right what is wrong there, and leaves what is wrong in
    the rest. The intervals are Wilson's, by the labels of the rest.
    """
    bins = _bins(summary, "reliability")
    if not bins:
        return _why_no_labels(summary)
    rule = summary.quality
    assert rule is not None
    total = sum(each["items"] for each in bins)
    points = []
    for asked in range(len(bins) + 1):
        rest = bins[asked:]
        labels = sum(each["items"] for each in rest)
        left = sum(each.get("share", each["items"] / total) for each in rest)  # earlier versions: all for as many
        wrong = sum(each.get("share", each["items"] / total) * (1 - each["agreement"]) for each in rest)
        low, high = _wilson(labels * wrong / left if left else 0.0, labels)
        points.append((1 - left, 1 - wrong, 1 - high * left, 1 - low * left))
    floor = min([min(point[2] for point in points), rule.target or 1.0])
    lowest = max(0.0, int(floor * 10) / 10)
    frame = Frame((0.0, 1.0), (lowest, 1.0))
    ticks = [lowest + (1 - lowest) * part / 4 for part in range(5)]
    frame.axes(
        _SHARES, [(tick, f"{100 * tick:.3g}%") for tick in ticks], "share of the items that Claude is asked about"
    )
    band = [(frame.x(x), frame.y(high)) for x, _, _, high in points]
    band += [(frame.x(x), frame.y(low)) for x, _, low, _ in reversed(points)]
    frame.marks.append(path(band, "band", is_closed=True))
    frame.marks.append(path([(frame.x(x), frame.y(y)) for x, y, _, _ in points], "curve"))
    for x, y, low, high in points:
        frame.marks.append(circle(frame.x(x), frame.y(y), 3, "dot", _priced(summary, x, y, low, high)))
    if rule.target is not None:
        frame.marks.append(line(frame.x(0), frame.y(rule.target), frame.x(1), frame.y(rule.target), "promise"))
    here = summary.escalated_share
    there = float(np.interp(here, [point[0] for point in points], [point[1] for point in points]))
    frame.marks.append(line(frame.x(here), frame.y(lowest), frame.x(here), frame.y(1.0), "here"))
    frame.marks.append(circle(frame.x(here), frame.y(there), 5, "chosen", f"this run asked about {here:.1%}"))
    keys = [Key("curve", "estimated agreement, with 90% intervals"), Key("chosen", f"this run, {here:.1%} asked")]
    if rule.target is not None:
        keys.append(Key("promise", f"promised, {100 * rule.target:.10g}%"))
    return Plot(
        "curve",
        "Cost and quality",
        f"What asking more would bring, by {total:,} labels, each for as many items as it stands for. The promise "
        "rests on its certificate, not on this curve. Point at a dot for its cost.",
        frame.height,
        frame.marks,
        keys,
    )


def _priced(summary: Summary, asked: float, agreement: float, low: float, high: float) -> str:
    told = f"{asked:.0%} asked: {agreement:.1%} agree ({low:.1%} to {high:.1%})"
    everything, engine = summary.all_claude_cost_usd, first_cost_usd(summary)
    if everything is None:
        return told
    cost = float(everything) * asked + float(engine or 0)
    a_thousand = 1_000 * cost / summary.items
    return f"{told}, {a_thousand:.3g} USD per 1,000 items" + (
        "" if engine is not None else " without the engine's cost"
    )


def reliability_plot(summary: Summary) -> Plot | str:
    """Agreement against confidence, raw and calibrated; or why it cannot be drawn."""
    bins, raw = _bins(summary, "reliability"), _bins(summary, "raw_reliability")
    if not bins:
        return _why_no_labels(summary)
    frame = Frame((0.0, 1.0), (0.0, 1.0))
    frame.axes(_SHARES, _SHARES, "confidence")
    frame.marks.append(line(frame.x(0), frame.y(0), frame.x(1), frame.y(1), "diagonal"))
    for kind, name, points in (("hollow", "raw", raw), ("dot", "calibrated", bins)):
        for each in points:
            told = f"{name} {each['mean_confidence']:.1%}, agrees {each['agreement']:.1%} ({each['items']:,} items)"
            place = frame.x(each["mean_confidence"]), frame.y(each["agreement"])
            frame.marks.append(circle(*place, 4, kind, told))
    calibration = summary.quality.calibration if summary.quality else {}
    error = calibration["reliability"]["expected_calibration_error"]
    before = calibration["raw_reliability"]["expected_calibration_error"]
    return Plot(
        "reliability",
        "Is the confidence to be believed?",
        f"Answers in bins of about equal confidence, against the share that Claude answered alike. On the diagonal, "
        f"confidence is what it says; the mean gap is {100 * error:.1f} points, {100 * before:.1f} before calibration.",
        frame.height,
        frame.marks,
        (Key("dot", "calibrated"), Key("hollow", "raw"), Key("diagonal", "as it should be")),
    )


def confidence_plot(cells: Mapping[str, NDArray[np.int64]], what: str, fates: Mapping[str, str]) -> Plot | str:
    """How sure the engine was, by what became of the items; ``fates`` says it of each kind of cells."""
    total = sum(cells.values(), np.zeros(CELLS, np.int64))
    if not total.sum():
        return "No item has a confidence: no engine scored any."
    first, last = int(np.flatnonzero(total)[0]), int(np.flatnonzero(total)[-1])
    step = max(1, -(-(last - first + 1) // _HISTOGRAM_BINS))
    starts = range(first - first % step, last + 1, step)
    sums = {kind: [int(counts[max(at, 0) : at + step].sum()) for at in starts] for kind, counts in cells.items()}
    highest = max(sum(column) for column in zip(*sums.values(), strict=True))
    ticks = round_ticks(max(highest, 4))  # whole numbers of items
    low, high = starts[0] / CELLS, (starts[-1] + step) / CELLS
    frame = Frame((low, high), (0.0, ticks[-1]))
    marked = [low + (high - low) * part / 4 for part in range(5)]
    frame.axes([(x, f"{x:.2f}") for x in marked], [(tick, _compact(tick)) for tick in ticks], what)
    width = (frame.x(high) - frame.x(low)) / len(starts)
    for place, start in enumerate(starts):
        below = 0
        for kind in sums:
            if items := sums[kind][place]:
                told = f"{start / CELLS:.3f} to {(start + step) / CELLS:.3f}: {count(items, 'item')}, {fates[kind]}"
                top = frame.y(below + items)
                left = frame.x(low) + place * width
                frame.marks.append(rect(left, top, max(width - 1, 1), frame.y(below) - top, kind, told))
                below += items
    return Plot(
        "confidence",
        "How sure the engine was",
        f"Items by {what}, {count(int(total.sum()), 'item')} in all.",
        frame.height,
        frame.marks,
        [Key(kind, fates[kind]) for kind in sums if any(sums[kind])],
    )


def time_plot(figures: Figures) -> Plot | str:
    """Items a second over the time of scoring."""
    # At least two commits a bar on average: of fewer, the bars would show the shards and not the pace.
    commits = len(figures.time_line.counts)
    seconds, bins = figures.time_line.rebinned(min(_TIME_BINS, max(commits // 2, 2)))
    if not bins:
        return "No engine scored any item."
    if len(bins) == 1:
        return f"All {count(sum(bins), 'item')} were scored within {seconds:.3g} s: too short to show a course."
    rates = [items / seconds for items in bins]
    ticks = round_ticks(max(rates))
    length = seconds * len(bins)
    unit, name = (1.0, "seconds") if length < 300 else (60.0, "minutes") if length < 18_000 else (3_600.0, "hours")
    frame = Frame((0.0, length), (0.0, ticks[-1]))
    marked = [tick * unit for tick in round_ticks(length / unit) if tick * unit <= length]
    frame.axes(
        [(x, f"{x / unit:.3g}") for x in marked], [(tick, _compact(tick)) for tick in ticks], f"{name} since the first"
    )
    width = (frame.x(length) - frame.x(0)) / len(bins)
    for place, (items, rate) in enumerate(zip(bins, rates, strict=True)):
        if items:
            told = f"{place * seconds / unit:.3g} to {(place + 1) * seconds / unit:.3g} {name}: {rate:,.3g} items/s"
            frame.marks.append(
                rect(
                    frame.x(0) + place * width,
                    frame.y(rate),
                    max(width - 1, 1),
                    frame.y(0) - frame.y(rate),
                    "engine",
                    told,
                )
            )
    mean = sum(bins) / length
    return Plot(
        "time",
        "Items a second",
        f"When the engines committed their answers, a shard at a time; {mean:,.3g} items a second on average. Gaps are "
        "waiting, or a run that was resumed.",
        frame.height,
        frame.marks,
    )


def _bins(summary: Summary, name: str) -> Sequence[Mapping[str, Any]]:
    found = summary.quality.calibration.get(name) if summary.quality else None
    return found["bins"] if found else ()


def _why_no_labels(summary: Summary) -> str:
    if not summary.has_first_answers:
        return "Left out: no engine answered any item."
    if summary.quality is None:
        return (
            "Left out: it needs labels that speak for all items, which only a target or a budget buys. "
            "This run had neither, or nothing to ask about."
        )
    reason = summary.quality.calibration.get("reason") or "none were bought"
    return f"Left out: too few of Claude's answers speak for all items ({reason})."


_Z = 1.645  # two-sided, 90 %


def _wilson(wrong: float, drawn: int) -> tuple[float, float]:
    if not drawn:
        return 0.0, 0.0
    part, square = wrong / drawn, _Z**2 / drawn
    centre, half = part + square / 2, _Z * (part * (1 - part) / drawn + square / drawn / 4) ** 0.5
    return max(0.0, (centre - half) / (1 + square)), min(1.0, (centre + half) / (1 + square))


def _compact(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
