"""What a person, or a program, sees of `pipeline models` and `pipeline models check`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from flows.console.printable import printable_line
from pipelines.costs.price_book import PriceBook, price_book
from pipelines.report.page import usd
from workers.engines.catalogue import Catalogue, CatalogueEntry, catalogue, known_facts
from workers.engines.fitting.fit import Fit, needed_gib
from workers.engines.fitting.machines import GIB, Machine

if TYPE_CHECKING:
    from flows.console.terminal import Terminal
    from flows.preflight.model_checks import Fits


def show_models(terminal: Terminal, *, as_json: bool) -> None:
    """Engines' models, Claude's, and names that are neither."""
    known, book = catalogue(), price_book()
    if as_json:
        terminal.show_json(_as_json(known, book))
        return
    table = _table("model", "GPU GB", "context", "block", "good for", right=(1, 2, 3))
    for name, entry in known.models.items():
        numbers = (_number(entry.gpu_gb), _tokens(entry.context), _number(entry.prefix_block))
        table.add_row(*map(_text, (name, *numbers, entry.good_for)))
    terminal.console.print(table)
    terminal.console.print(_claude_table(known, book))
    limits = known.claude.batch
    say = terminal.progress.say
    say(
        f"batch     of Claude: {limits.requests:,} requests or {limits.megabytes} MB at most; what is unfinished after "
        f"{limits.hours} h expires, answers are kept {limits.days_kept} days"
    )
    for service, nearest in known.services.items():
        say(f"hosted    {service} is a service, not weights: the nearest weights are {nearest}")
    say("block     a shared beginning of prompts is reused in whole blocks of so many tokens, or not at all")
    say("next      pipeline models check   says what fits this machine or cluster; check NAME all about one")


def _claude_table(known: Catalogue, book: PriceBook) -> Table:
    table = _table("Claude", "batch in/out", "context", "good for", right=(1, 2))
    for name, tier in known.claude.models.items():
        table.add_row(*map(_text, (name, _batch_price(book, name), _tokens(tier.context), tier.good_for)))
    return table


def _batch_price(book: PriceBook, model: str) -> str:
    """USD for a million tokens in a message batch."""
    price, factor = book.find(model, datetime.now(UTC)), book.rules.batch_factor
    return "unknown" if price is None else f"{usd(price.input * factor)}/{usd(price.output * factor)}"


def _as_json(known: Catalogue, book: PriceBook) -> dict[str, Any]:
    """By name; ``kind`` tells an engine's model from Claude's and from a hosted name."""
    engines = {name: {"kind": "engine", **entry.model_dump(mode="json")} for name, entry in known.models.items()}
    claude = {
        name: {
            "kind": "claude",
            **tier.model_dump(mode="json"),
            "batch_usd_per_million": _batch_price(book, name),
            "batch": known.claude.batch.model_dump(mode="json"),
        }
        for name, tier in known.claude.models.items()
    }
    hosted = {name: {"kind": "hosted", "nearest": nearest} for name, nearest in known.services.items()}
    return {**engines, **claude, **hosted}


def show_fits(terminal: Terminal, found: Fits, *, as_json: bool) -> None:
    """What the machines have, and how each model stands to them."""
    if as_json:
        terminal.show_json(
            {
                "device": found.device,
                "machines": [asdict(machine) for machine in found.machines],
                "models": {name: {"fits": bool(fit.engines), **asdict(fit)} for name, fit in found.fits.items()},
            },
        )
        return
    say = terminal.progress.say
    for machine in found.machines:
        say(f"machine   {_machine(machine)}")
    if len(found.fits) == 1:
        ((name, entry),) = found.entries.items()
        for label, told in _facts(entry):
            say(f"{label:<10}{told}")
        say(f"{_verdict(found.fits[name]):<10}{name}: {_here(found.fits[name], found.device)}")
        return
    table = _table("model", "needs GiB", "here", right=(1,))
    for name, fit in sorted(found.fits.items(), key=lambda each: (not each[1].engines, each[1].needed_gib or 0)):
        style = None if fit.engines else "dim"
        table.add_row(*map(_text, (name, _gib(fit.needed_gib), _here(fit, found.device, is_short=True))), style=style)
    terminal.console.print(table)
    if found.device == "cpu":
        say("speed     by memory alone: on a CPU a model of billions reads few documents a second")
    say("next      pipeline models check NAME   all about one")


def _verdict(fit: Fit) -> str:
    return "fits" if fit.engines else "NO"


def _here(fit: Fit, device: str, *, is_short: bool = False) -> str:
    if not fit.engines:
        would = f"{fit.would_fit} would" if fit.would_fit else ""
        return f"no; {would}" if is_short and would else fit.why_not + (f"; {would}" if would else "")
    what = f" of {fit.group} GPUs" if fit.group > 1 else " of one GPU" if device == "gpu" else " of one core"
    return f"{fit.engines} engine{'' if fit.engines == 1 else 's'}{what}"


def _facts(entry: CatalogueEntry) -> Iterable[tuple[str, str]]:
    """What the catalogue knows of one model."""
    needed, entry = needed_gib(entry), known_facts(entry)
    yield "source", entry.source + (f" at {entry.revision}" if entry.revision else ", newest revision (none is pinned)")
    if entry.about:
        yield "about", entry.about
        yield "good for", entry.good_for
    yield "memory", f"about {_gib(needed)} GiB of GPU memory: weights and little context" if needed else "not known"
    yield "devices", entry.devices or "not known"
    yield "context", f"{_tokens(entry.context)} tokens natively; engine arguments: {json.dumps(entry.engine)}"
    block = entry.prefix_block
    yield "block", "not known" if block is None else f"{block:,} tokens of a shared beginning are reused, or none"


def _machine(machine: Machine) -> str:
    memory = "" if machine.memory_bytes is None else f", {machine.memory_bytes / GIB:,.1f} GiB of memory"
    cards = ", no GPU"
    if machine.cards:
        each = "of unknown memory" if machine.card_bytes is None else f"of {machine.card_bytes / GIB:,.0f} GiB"
        cards = f", {len(machine.cards)} GPU{'' if len(machine.cards) == 1 else 's'} {each}"
    return f"{printable_line(machine.name)}: {machine.cores:g} cores{memory}{cards}"


def _table(*columns: str, right: Iterable[int] = ()) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place in right else "left", no_wrap=place < len(columns) - 1)
    return table


def _text(words: str) -> Text:
    return Text(printable_line(words))


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def _gib(value: float | None) -> str:
    return "?" if value is None else f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def _tokens(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
