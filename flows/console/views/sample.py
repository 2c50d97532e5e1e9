"""What a person sees of `pipeline estimate --sample N`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from flows.console.progress import span
from flows.console.terminal import COMMAND, Terminal
from pipelines.costs.comparison import GPU_PRICE
from pipelines.costs.sampled import Total
from pipelines.report.numbers import count, short_usd

if TYPE_CHECKING:
    from flows.estimate.sample import SampleEstimate
    from pipelines.cascade.rule.estimate import Estimate

_KNOWN = {
    "claude": "by what Claude answered to {n} of the sample",
    "gold": "gold labels of {n} of the sample stand in for Claude's answers; --ask asks Claude about the sample",
    "supposed": "SUPPOSED that the engine is right as often as it says, which nothing here checks; --ask asks Claude",
}


def show_sample(terminal: Terminal, job_path: Path, estimate: SampleEstimate, as_json: bool) -> None:
    """The reckoning, and on what it rests."""
    if as_json:
        terminal.show_json(sample_json(estimate))
        return
    for line in sample_lines(estimate):
        terminal.progress.say(line)
    if estimate.targets:
        table = Table("target", "engine answers", "Claude is asked", "engine USD", "Claude USD", "all USD")
        for column in table.columns[1:]:
            column.justify = "right"
        for each in estimate.targets:
            table.add_row(*_row(estimate, each))
        terminal.console.print(table)
        terminal.progress.say(
            "range     of a target: the least and the most of a dozen plays; the engine scores all items, so its cost "
            "is that of both routes"
        )
        terminal.progress.say(f"known     {_KNOWN[str(estimate.labels_of)].format(n=f'{estimate.labelled:,}')}")
    terminal.progress.say(f"kept      {estimate.kept_at}: the same command again scores nothing anew")
    terminal.progress.say(f"next      {COMMAND} submit {job_path}   runs the whole")


def sample_lines(estimate: SampleEstimate) -> Iterator[str]:
    """What was seen, and what all documents would take."""
    drawn = estimate.drawn
    yield (
        f"sample    only {estimate.sampled:,} of {count(drawn.total, 'document')} were scored; what chance leaves open "
        "is in brackets (95%)"
    )
    if drawn.failed or drawn.withheld:
        yield f"counted   {drawn.failed:,} that cannot be read, {drawn.withheld:,} that may not go to Claude"
    hours = estimate.device_seconds.times(1 / 3_600)
    computed = (
        f"{_range(hours, _plain)} device hours"
        if hours.about >= 0.1
        else f"{_range(estimate.device_seconds, _plain)} device seconds"
    )
    yield f"engine    {computed}; a small sample fills no engine, so rather less"
    wall = estimate.wall_seconds
    yield (
        f"time      {_range(wall, span)} on {count(estimate.devices, 'device')} at hand, of which "
        f"{span(estimate.start_seconds)} to start"
    )
    usd = estimate.engine_usd
    yield f"cost      engine {_usd(usd)} while it computes" if usd else f"cost      engine unknown: {GPU_PRICE}"
    if not estimate.is_escalating:
        yield f"Claude    is off in this job; this is reckoned as if {estimate.claude_model} were asked"
    everything = estimate.claude_usd(drawn.may_be_sent)
    price = _usd(everything) if everything else f"unknown: no price of {estimate.claude_model} in `pipeline prices`"
    basis = "" if estimate.labels_of == "claude" else ", tokens estimated by the engine's"
    yield f"all asked {count(drawn.may_be_sent, 'item')} by {estimate.claude_model}, in batches: {price}{basis}"
    if estimate.spent_usd is not None:
        simulated = ", simulated: nothing was billed" if estimate.is_simulated else ""
        yield f"spent     {short_usd(estimate.spent_usd)} USD on the sample's answers{simulated}"


def _row(estimate: SampleEstimate, each: Estimate) -> list[str]:
    items, engine = estimate.drawn.may_be_sent, estimate.engine_usd
    least, most = estimate.claude_usd(each.least), estimate.claude_usd(each.most)
    about = estimate.claude_usd(each.asked)
    claude = Total(about.about, least.least, most.most) if about and least and most else None
    total = Total(*(a + b for a, b in zip(_of(engine), _of(claude), strict=True))) if engine and claude else None
    return [
        f"{each.promise.target:.10g}",
        f"{items - each.asked:,}",
        f"{each.asked:,} ({each.least:,}-{each.most:,})",
        "unknown" if engine is None else _short(engine.about),
        "unknown" if claude is None else f"{_short(claude.about)} ({_short(claude.least)}-{_short(claude.most)})",
        "unknown" if total is None else _short(total.about),
    ]


def sample_json(estimate: SampleEstimate) -> dict[str, Any]:
    """The same for a program; every total with its range."""
    drawn = estimate.drawn
    return {
        "sampled": estimate.sampled,
        "documents": drawn.total,
        "failed": drawn.failed,
        "withheld": drawn.withheld,
        "device_seconds": _json(estimate.device_seconds),
        "devices": estimate.devices,
        "wall_seconds": _json(estimate.wall_seconds),
        "engine_usd": _json(estimate.engine_usd),
        "claude_model": estimate.claude_model,
        "is_escalating": estimate.is_escalating,
        "all_claude_usd": _json(estimate.claude_usd(drawn.may_be_sent)),
        "labels_of": estimate.labels_of,
        "labelled": estimate.labelled,
        "spent_usd": None if estimate.spent_usd is None else str(estimate.spent_usd),
        "targets": [
            {
                "target": each.promise.target,
                "assurance": each.promise.assurance,
                "asked": each.asked,
                "least": each.least,
                "most": each.most,
                "claude_usd": _json(estimate.claude_usd(each.asked)),
            }
            for each in estimate.targets
        ],
    }


def _json(total: Total | None) -> dict[str, float] | None:
    return None if total is None else {"about": total.about, "least": total.least, "most": total.most}


def _of(total: Total) -> tuple[float, float, float]:
    return total.about, total.least, total.most


def _range(total: Total, told: Any) -> str:
    about, least, most = map(told, _of(total))
    return f"about {about}" if least == most else f"about {about} ({least} to {most})"


def _usd(total: Total) -> str:
    return f"{_range(total, _short)} USD"


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}" if number < 10 else f"{number:.1f}"


def _short(usd: float) -> str:
    return short_usd(Decimal(str(usd)))
