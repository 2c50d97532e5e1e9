"""The price book, and a run beside its alternatives: as tables for a person, as JSON for a program.

Sums stay exact; what is made of them (for a million documents, where lines cross) is rounded to what a person reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from flows.console.printable import printable_line
from flows.console.terminal import Terminal
from pipelines.costs.comparison import GPU_PRICE, HOURS_A_MONTH, CostComparison, Crossing, Mode, Offer, not_in_the_book
from pipelines.costs.own_prices import SETTING
from pipelines.costs.price_book import FastPrice, HostedPrice, Price, PriceBook, Row, price_book
from pipelines.costs.price_list import KINDS, ListedPrice, price_list
from pipelines.report.page import percent, usd
from pipelines.report.run_costs import compare_run

_HEADINGS = {
    "claude": "Claude, USD per million tokens; in a message batch everything costs {factor} of it",
    "fast": "Claude's fast mode, USD per million tokens; never in a message batch",
    "hosted": "Hosted models, to compare with, USD per million tokens",
}
_NO_CLAUDE_PRICE = f"no price of Claude for some rows: add a [[price]] row for its model to the file of {SETTING}"
_NO_HELD = "time is not known: a session that was killed left no record of how long it held its engines"


def rounded(amount: Decimal) -> Decimal:
    """To cents; below one, to three digits that are not leading zeros."""
    if amount == 0 or abs(amount) >= 1:
        return amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    return amount.quantize(Decimal(1).scaleb(amount.adjusted() - 2), ROUND_HALF_EVEN)


def _money(amount: Decimal | None) -> str:
    if amount is None:
        return "unknown"
    return f"{rounded(amount):,f}" if amount else "0"


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < left else "right", no_wrap=place > 0)
    return table


def _text(word: str) -> Text:
    """Text, not markup: names of models are the user's own."""
    return Text(printable_line(word))


def list_prices(terminal: Terminal, *, as_json: bool) -> None:
    """Print the price book, as `pipeline prices` does."""
    book = price_book()
    show_prices(terminal, book, list(price_list(book, datetime.now(UTC))), as_json=as_json)


def compare_costs(terminal: Terminal, run: str, *, as_json: bool) -> None:
    """Print a run's cost beside its alternatives, as `pipeline cost RUN --compare` does."""
    show_comparison(terminal, compare_run(run, price_book(), datetime.now(UTC)), as_json=as_json)


# The price book


def show_prices(terminal: Terminal, book: PriceBook, listed: list[ListedPrice], *, as_json: bool) -> None:
    """Every row with its source and date."""
    if as_json:
        terminal.show_json({"prices": [_row_json(each) for each in listed], "not_in_the_book": not_in_the_book(book)})
        return
    sources = list(dict.fromkeys((each.source, each.checked_on) for each in listed))
    for kind in KINDS:
        rows = [each for each in listed if each.kind == kind]
        if not rows:
            continue
        terminal.console.print(_HEADINGS[kind].format(factor=f"{book.rules.batch_factor:f}"), style="bold")
        terminal.console.print(_price_table(kind, rows, sources, book))
    if missing := not_in_the_book(book):
        terminal.progress.say(f"not in the book: {', '.join(missing)}")
        terminal.progress.say(f"          a [[hosted]] row in your own prices.toml, named by {SETTING}, gives a price")
    for number, (source, checked_on) in enumerate(sources, 1):
        terminal.progress.say(f"[{number}] {source}" + (f", checked {checked_on}" if checked_on else ""))
    if gpu := book.own.gpu:
        terminal.progress.say(
            f"GPU       {usd(gpu.hour_usd)} USD an hour in `pipeline cost RUN --compare`, from your file"
        )


def _price_table(kind: str, rows: Iterable[ListedPrice], sources: list[tuple[str, Any]], book: PriceBook) -> Table:
    caches = ("cache 5m/1h", "read") if kind == "claude" else ()
    batch = ("batch in/out",) if kind == "claude" else ()
    table = _table("model", "in/out", *caches, *batch, "from", "source")
    for each in rows:
        row, factor = each.row, book.rules.batch_factor
        cells = [_name(row), _pair(row.input, row.output)]
        if isinstance(row, Price):
            cells += [_pair(row.cache_write_5m, row.cache_write_1h), usd(row.cache_read)]
            cells += [_pair(row.input * factor, row.output * factor)]
        until = f", until {row.valid_before}" if isinstance(row, FastPrice) and row.valid_before else ""
        mark = f"[{sources.index((each.source, each.checked_on)) + 1}]"
        if each.replaces:
            mark = f"{mark}, yours, not {_pair(each.replaces.input, each.replaces.output)}"
        elif each.is_own:
            mark = f"{mark}, yours"
        elif each.is_replaced:
            mark = f"{mark}, replaced by yours"
        cells += [f"{row.valid_from}{until}", mark]
        table.add_row(*map(_text, cells), style="dim" if each.is_replaced else None)
    table.columns[-1].justify = "left"
    return table


def _name(row: Row) -> str:
    name = row.model if row.provider == "anthropic" else f"{row.model} ({row.provider})"
    if row.prompt_tokens_above:
        name += f" >{row.prompt_tokens_above // 1_000}k"
    if isinstance(row, HostedPrice) and row.prompt_tokens_up_to:
        name += f" ≤{row.prompt_tokens_up_to // 1_000}k"
    return name


def _pair(first: Decimal, second: Decimal) -> str:
    return f"{usd(first)}/{usd(second)}"


def _row_json(each: ListedPrice) -> dict[str, Any]:
    facts = {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in each.row}
    replaces = each.replaces and {"input": f"{each.replaces.input:f}", "output": f"{each.replaces.output:f}"}
    whence = {"source": each.source, "checked_on": each.checked_on}
    own = {"is_own": each.is_own, "is_replaced": each.is_replaced, "replaces": replaces}
    return {"kind": each.kind, **facts, **whence, **own}


# A run beside its alternatives


def show_comparison(terminal: Terminal, compared: CostComparison, *, as_json: bool) -> None:
    """What a million documents cost, here and elsewhere, and from where on a device of one's own pays."""
    if as_json:
        terminal.show_json(comparison_json(compared))
        return
    say = terminal.progress.say
    terminal.console.print(f"USD for a million documents like the {compared.figures.documents:,} here", style="bold")
    terminal.console.print(_own_table(compared))
    is_over_http = compared.figures.is_over_http
    for heading, remark, is_claude in (
        ("Claude for all", "Engine and Claude are cheaper from so many documents on", True),
        ("A hosted model for the engine", "The engine is cheaper from so many documents on", False),
    ):
        shown = [offer for offer in compared.offers if offer.is_claude is is_claude and offer.usd]
        if shown:
            terminal.console.print(heading if is_over_http else f"{heading}. {remark}", style="bold")
            terminal.console.print(_offers_table(compared, shown))
    for reason in dict.fromkeys(offer.missing for offer in compared.offers if offer.missing):
        names = ", ".join(printable_line(_offer_name(offer)) for offer in compared.offers if offer.missing == reason)
        say(f"unknown   {names}: {reason}; rows of your own prices.toml, named by {SETTING}, give a price")
    for line in _notes(compared):
        say(line)


def _own_table(compared: CostComparison) -> Table:
    figures, per_million = compared.figures, compared.per_million
    table = _table("this run", "USD", "")
    table.columns[2].justify = "left"
    asked = compared.asked_share
    first = "first tier" if figures.is_over_http else "engine while busy"
    lines = [
        (f"{first}, and Claude", figures.cost_usd, f"as it was: {usd(figures.cost_usd)} USD by its rows"),
        (f"  {first}", figures.first_tier_cost_usd if figures.is_over_http else figures.gpu_cost_usd, ""),
        ("  Claude", figures.api_cost_usd, "" if asked is None else f"asked about {percent(float(asked))}"),
    ]
    if not figures.is_over_http:
        lines += [
            ("engine while held, and Claude", compared.reserved_run_usd, ""),
            ("engine while held, alone", compared.reserved_usd, _busy(compared)),
        ]
    for name, amount, remark in lines:
        table.add_row(name, _money(per_million(amount)), remark)
    return table


def _busy(compared: CostComparison) -> str:
    held = compared.figures.held_seconds
    return f"busy {compared.figures.gpu_seconds / held:.0%} of that time" if held else ""


def _offers_table(compared: CostComparison, offers: list[Offer]) -> Table:
    is_claude = offers[0].is_claude
    prices: tuple[Mode, ...] = ("batch", "live") if is_claude else ("live",)
    table = _table("instead", *prices, "an hour", "a month", "device use")
    for offer in sorted(offers, key=lambda each: each.cheapest_usd or 0):
        amounts = [_money(compared.per_million(offer.usd.get(way))) for way in prices]
        crossing = offer.engine_and_claude if is_claude else offer.engine_alone
        table.add_row(_text(_offer_name(offer)), *amounts, *_crossing_cells(compared, crossing))
    return table


def _crossing_cells(compared: CostComparison, crossing: Crossing | None) -> tuple[str, str, str]:
    if compared.figures.is_over_http:
        return ("", "", "")
    if crossing is None:
        is_known = compared.gpu_hour_usd is not None and compared.documents_a_gpu_hour is not None
        return ("never" if is_known and compared.figures.api_cost_usd is not None else "unknown", "", "")
    if not crossing.is_reachable:
        return ("never", "", f"{crossing.use_of_gpu:,.0%}")
    return (f"{crossing.documents_an_hour:,.0f}", f"{crossing.documents_a_month:,.0f}", _use(crossing.use_of_gpu))


def _use(share: Decimal) -> str:
    return "<0.1%" if share < Decimal("0.0005") else f"{share:.1%}"


def _offer_name(offer: Offer) -> str:
    return offer.model if offer.provider in (None, "anthropic") else f"{offer.model} ({offer.provider})"


def _notes(compared: CostComparison) -> Iterable[str]:
    figures, hour_usd, capacity = compared.figures, compared.gpu_hour_usd, compared.documents_a_gpu_hour
    if figures.is_over_http:
        yield "device    no engine ran here: a first tier over HTTP answered, so there is no device to compare with"
    elif hour_usd is None:
        yield f"unknown   {GPU_PRICE}"
    elif capacity is not None:
        yield (
            f"device    held all month at {usd(hour_usd)} USD an hour ({compared.gpu_price_of}), one costs "
            f"{_money(hour_usd * HOURS_A_MONTH)} USD and does up to {capacity:,.0f} such documents an hour, always busy"
        )
    if hour_usd is not None and compared.reserved_usd is None and not figures.is_over_http:
        yield f"held      {_NO_HELD}"
    if figures.api_cost_usd is None:
        yield f"unknown   {_NO_CLAUDE_PRICE}"
    yield f"prices    of {compared.at:%Y-%m-%d}; `pipeline prices` lists them with their sources"
    for line in compared.assumptions:
        yield f"assumed   {line}"
    if figures.failed:
        yield f"failed    {figures.failed:,} of the documents cost nothing anywhere; they count among the million"
    if figures.withheld:
        yield f"withheld  {figures.withheld:,} documents may not go to Claude at all; its prices count them"
    if figures.is_simulated:
        yield "simulated Claude's cost is what the simulated tokens would have cost at list price; nothing was billed"


def comparison_json(compared: CostComparison) -> dict[str, Any]:
    """The same for a program; money is text, so that no digit is lost."""
    figures = compared.figures
    own = {
        "total_usd": figures.cost_usd,
        "engine_busy_usd": figures.gpu_cost_usd,
        "first_tier_usd": figures.first_tier_cost_usd,
        "claude_usd": figures.api_cost_usd,
        "engine_reserved_usd": compared.reserved_usd,
        "total_reserved_usd": compared.reserved_run_usd,
    }
    return {
        "prices_of": f"{compared.at:%Y-%m-%d}",
        "documents": figures.documents,
        "failed": figures.failed,
        "withheld": figures.withheld,
        "is_simulated": figures.is_simulated,
        "asked_share": _ratio(compared.asked_share),
        "gpu_hour_usd": _exact(compared.gpu_hour_usd),
        "gpu_price_of": compared.gpu_price_of if compared.gpu_hour_usd is not None else GPU_PRICE,
        "documents_per_device_hour": _whole(compared.documents_a_gpu_hour),
        "device_busy_share": _ratio(figures.gpu_seconds / figures.held_seconds if figures.held_seconds else None),
        "as_it_was": {name: _exact(amount) for name, amount in own.items()},
        "usd_per_million_documents": {
            name.removesuffix("_usd"): _shown(compared.per_million(amount)) for name, amount in own.items()
        },
        "alternatives": [_offer_json(compared, offer) for offer in compared.offers],
        "assumptions": list(compared.assumptions),
    }


def _offer_json(compared: CostComparison, offer: Offer) -> dict[str, Any]:
    return {
        "kind": "claude" if offer.is_claude else "hosted",
        "provider": offer.provider,
        "model": offer.model,
        "usd_per_million_documents": {way: _shown(compared.per_million(each)) for way, each in offer.usd.items()},
        "missing": offer.missing,
        "engine_alone_pays": _crossing_json(offer.engine_alone),
        "engine_and_claude_pay": _crossing_json(offer.engine_and_claude),
    }


def _crossing_json(crossing: Crossing | None) -> dict[str, Any] | None:
    if crossing is None:
        return None
    return {
        "from_documents_per_hour": _whole(crossing.documents_an_hour),
        "from_documents_per_month": _whole(crossing.documents_a_month),
        "device_use": _ratio(crossing.use_of_gpu),
        "is_reachable": crossing.is_reachable,
    }


def _exact(amount: Decimal | None) -> str | None:
    return None if amount is None else usd(amount)


def _shown(amount: Decimal | None) -> str | None:
    return None if amount is None else usd(rounded(amount))


def _whole(number: Decimal | None) -> int | None:
    return None if number is None else round(number)


def _ratio(share: Decimal | None) -> float | None:
    return None if share is None else round(float(share), 6)
