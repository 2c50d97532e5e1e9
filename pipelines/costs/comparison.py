"""What the documents of a run would have cost elsewhere, and from which volume on a GPU of one's own is cheaper.

In: what a run measured (tokens, engine time, its own cost), and the price book. Out: totals for the very same
documents, exact; none, with the reason, where a price is missing. Knows nothing of stores and screens.

Every figure is per document of the run, failed ones included: they cost nothing anywhere, and come again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Literal

from pipelines.costs.accounting import to_money
from pipelines.costs.own_prices import SETTING
from pipelines.costs.price_book import FastPrice, Price, PriceBook

HOURS_A_MONTH = 730
Mode = Literal["batch", "live", "fast"]
# Of a document that Claude was never asked about, one label and a little thinking.
ESTIMATED_OUTPUT_TOKENS = 60
_PER_MILLION = Decimal(1_000_000)
_SECONDS_AN_HOUR = 3_600
GPU_PRICE = f"no GPU price: set compute.device_hour_usd in the job, or hour_usd under [gpu] in the file of {SETTING}"


@dataclass(frozen=True)
class Tokens:
    """Sums over documents; ``prompt`` is the whole prompt, its cached part included."""

    documents: int | Decimal = 0
    prompt: int | Decimal = 0
    cached: int | Decimal = 0
    output: int | Decimal = 0

    def plus(self, other: Tokens) -> Tokens:
        """Sum of two counts of tokens and documents."""
        return Tokens(
            self.documents + other.documents,
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.output + other.output,
        )

    def times(self, documents: Decimal, tokens: Decimal = Decimal(1)) -> Tokens:
        """For so many more documents, each of so many times the tokens."""
        both = documents * tokens
        return Tokens(self.documents * documents, self.prompt * both, self.cached * both, self.output * both)


@dataclass(frozen=True)
class RunFigures:
    """What a run measured. Tokens are by price step: those of prompts longer than the key, up to the next key."""

    documents: int
    failed: int
    withheld: int
    engine: Mapping[int, Tokens]
    claude: Mapping[tuple[bool, int], Tokens]  # the first says whether it was a model with the older tokenizer
    gpu_seconds: Decimal
    held_seconds: Decimal
    gpu_cost_usd: Decimal | None
    api_cost_usd: Decimal | None
    cost_usd: Decimal | None
    device_hour_usd: Decimal | None
    is_us_inference: bool = False
    is_simulated: bool = False
    is_over_http: bool = False  # a server answered first, and no engine of the run's own
    first_tier_cost_usd: Decimal | None = None

    @property
    def answerable(self) -> int:
        """Documents whose text could be read, so that any model could have answered them."""
        return self.documents - self.failed

    @property
    def engine_tokens(self) -> Tokens:
        """All that the engine read and wrote."""
        return _sum(self.engine.values())

    @property
    def claude_tokens(self) -> Tokens:
        """All that Claude read and wrote."""
        return _sum(self.claude.values())


@dataclass(frozen=True)
class Crossing:
    """Where one reserved GPU and an offer cost the same; above it, the GPU is cheaper."""

    documents_an_hour: Decimal
    documents_a_month: Decimal
    use_of_gpu: Decimal  # of all that the GPU can do; above 1 it never gets there

    @property
    def is_reachable(self) -> bool:
        """Whether the GPU can do as many at this run's speed."""
        return self.use_of_gpu <= 1


@dataclass(frozen=True)
class Offer:
    """Somebody else answering all of the run's documents."""

    provider: str | None
    model: str
    is_claude: bool
    usd: Mapping[Mode, Decimal] = field(default_factory=dict)
    missing: str | None = None
    engine_alone: Crossing | None = None  # None: never, or not known
    engine_and_claude: Crossing | None = None  # Claude asked as often as in this run

    @property
    def cheapest_usd(self) -> Decimal | None:
        """Of its ways, the one to compare with."""
        return min(self.usd.values(), default=None)


@dataclass(frozen=True)
class CostComparison:
    """What a run cost, beside what its alternatives would have cost."""

    figures: RunFigures
    at: datetime
    gpu_hour_usd: Decimal | None  # of the reserved GPU: the user's own, or the job's
    gpu_price_of: str
    reserved_usd: Decimal | None  # what the engines cost while they were held
    documents_a_gpu_hour: Decimal | None  # while busy
    offers: tuple[Offer, ...]
    assumptions: tuple[str, ...]

    @property
    def reserved_run_usd(self) -> Decimal | None:
        """The run as it was, with the engines paid for as long as they were held."""
        if self.reserved_usd is None or self.figures.api_cost_usd is None:
            return None
        return self.reserved_usd + self.figures.api_cost_usd

    @property
    def asked_share(self) -> Decimal | None:
        """Share of the answerable documents that Claude was asked about."""
        answerable = self.figures.answerable
        return Decimal(self.figures.claude_tokens.documents) / answerable if answerable else None

    def per_million(self, usd: Decimal | None) -> Decimal | None:
        """What a total of this run comes to for a million such documents."""
        return None if usd is None or not self.figures.documents else usd * _PER_MILLION / self.figures.documents


def compare(figures: RunFigures, book: PriceBook, at: datetime) -> CostComparison:
    """The run beside every offer of the book, at the prices of ``at``."""
    own_gpu = book.own.gpu.hour_usd if book.own.gpu and book.own_file else None
    hour_usd = own_gpu if own_gpu is not None else figures.device_hour_usd
    has_engine = figures.gpu_seconds > 0
    capacity = figures.documents * _SECONDS_AN_HOUR / figures.gpu_seconds if has_engine else None
    read_by_claude, told = _for_claude(figures, book)
    crossing = _Crossings(figures, hour_usd, capacity)
    offers = [*_claude_offers(figures, read_by_claude, book, at), *_hosted_offers(figures, book, at)]
    return CostComparison(
        figures=figures,
        at=at,
        gpu_hour_usd=hour_usd,
        gpu_price_of=book.own_file.path if own_gpu is not None and book.own_file else "compute.device_hour_usd",
        reserved_usd=_reserved(figures, hour_usd),
        documents_a_gpu_hour=capacity,
        offers=tuple(crossing.told(offer) for offer in offers),
        assumptions=(told, _told_of_hosted(figures)),
    )


def _reserved(figures: RunFigures, hour_usd: Decimal | None) -> Decimal | None:
    """None also where a session was killed before it wrote down how long it held its engines."""
    if hour_usd is None or figures.is_over_http or figures.held_seconds < figures.gpu_seconds:
        return None
    return to_money(figures.held_seconds * hour_usd / _SECONDS_AN_HOUR)


@dataclass(frozen=True)
class _Crossings:
    figures: RunFigures
    hour_usd: Decimal | None
    capacity: Decimal | None

    def told(self, offer: Offer) -> Offer:
        """Offer with the volumes at which its cost crosses this run's."""
        usd, asked_usd = offer.cheapest_usd, self.figures.api_cost_usd
        if usd is None or not self.figures.documents:
            return offer
        return Offer(
            offer.provider,
            offer.model,
            offer.is_claude,
            offer.usd,
            offer.missing,
            engine_alone=self._at(usd),
            engine_and_claude=None if asked_usd is None else self._at(usd - asked_usd),
        )

    def _at(self, saved_usd: Decimal) -> Crossing | None:
        """``saved_usd``: what the GPU may cost for all of the run's documents."""
        if self.hour_usd is None or self.capacity is None or saved_usd <= 0:
            return None
        an_hour = self.hour_usd * self.figures.documents / saved_usd
        return Crossing(an_hour, an_hour * HOURS_A_MONTH, an_hour / self.capacity)


def _for_claude(figures: RunFigures, book: PriceBook) -> tuple[dict[tuple[bool, int], Tokens], str]:
    """What Claude would read and write of all documents, and whence that is known."""
    asked, scored = figures.claude_tokens, figures.engine_tokens
    factor = book.tokens.newer_per_older
    older = f"models with the older tokenizer are taken to make 1 token where the newer make {factor:f}"
    if asked.documents:
        more = Decimal(figures.answerable) / asked.documents
        counted = "simulated for" if figures.is_simulated else "measured on"
        return (
            {key: tokens.times(more) for key, tokens in figures.claude.items()},
            f"Claude's tokens: {counted} the {asked.documents:,} documents it was asked about here "
            f"({_mean(asked)} a document), taken for all; {older}",
        )
    more = Decimal(figures.answerable) / scored.documents if scored.documents else Decimal(0)
    guessed = {}
    for step, tokens in figures.engine.items():
        read = tokens.times(more, factor)
        written = max(read.output, read.documents * ESTIMATED_OUTPUT_TOKENS)
        guessed[False, step] = Tokens(read.documents, read.prompt, 0, written)
    return guessed, (
        f"Claude's tokens: estimated, as Claude was asked about nothing here: {factor:f} times what the engine read, "
        f"and at least {ESTIMATED_OUTPUT_TOKENS} written a document; {older}"
    )


def _told_of_hosted(figures: RunFigures) -> str:
    if figures.engine_tokens.documents:
        return (
            f"Hosted models: taken to read and write what the engine did here ({_mean(figures.engine_tokens)} a "
            "document), without thinking and without a discount for repeated prompts"
        )
    return "Hosted models: not compared, as no engine counted the documents' tokens here"


def _claude_offers(
    figures: RunFigures, tokens: Mapping[tuple[bool, int], Tokens], book: PriceBook, at: datetime
) -> Iterator[Offer]:
    for provider, model in dict.fromkeys((row.provider, row.model) for row in (*book.own.price, *book.price)):
        if not figures.answerable or not tokens:
            yield Offer(provider, model, True, missing="no document was answered here")
            continue
        live = _claude_usd(figures, tokens, book, model, partial(_list_row, book, model, provider, at))
        if live is None:
            yield Offer(provider, model, True, missing=f"no row in force on {at:%Y-%m-%d}")
            continue
        usd: dict[Mode, Decimal] = {"batch": live * book.rules.batch_factor, "live": live}
        fast = _claude_usd(figures, tokens, book, model, partial(_fast_row, book, model, provider, at))
        yield Offer(provider, model, True, usd | ({"fast": fast} if fast is not None else {}))


def _list_row(book: PriceBook, model: str, provider: str, at: datetime, step: int) -> Price | None:
    """The row of prompts just above a step."""
    return book.find(model, at, step + 1, provider)


def _fast_row(book: PriceBook, model: str, provider: str, at: datetime, _step: int) -> FastPrice | None:
    """Price of fast mode, which is the same for prompts of every length."""
    return book.find_fast(model, at, provider)


def _claude_usd(
    figures: RunFigures,
    tokens: Mapping[tuple[bool, int], Tokens],
    book: PriceBook,
    model: str,
    row_of: Callable[[int], Price | FastPrice | None],
) -> Decimal | None:
    """At the price of one request at a time; None where a step has no price."""
    total, ratio = Decimal(0), book.tokens.newer_per_older
    for (is_older, step), each in tokens.items():
        row = row_of(step)
        if row is None:
            return None
        factor = Decimal(1)
        if is_older != book.tokens.is_older(model):
            factor = ratio if is_older else 1 / ratio
        # Of fast mode the book has no price for what is read from a cache: in full, then.
        cached = row.cache_read if isinstance(row, Price) else row.input
        total += factor * ((each.prompt - each.cached) * row.input + each.cached * cached + each.output * row.output)
    return total * (book.rules.us_inference_factor if figures.is_us_inference else 1) / _PER_MILLION


def _hosted_offers(figures: RunFigures, book: PriceBook, at: datetime) -> Iterator[Offer]:
    names = dict.fromkeys((row.provider, row.model) for row in (*book.own.hosted, *book.hosted))
    scored = figures.engine_tokens.documents
    for provider, model in names:
        total, missing = Decimal(0), None
        for step, each in figures.engine.items():
            row = book.find_hosted(provider, model, at, step + 1)
            if row is None:
                longer = f" for prompts of more than {step:,} tokens" if step else ""
                missing = f"no row in force on {at:%Y-%m-%d}{longer}"
                break
            total += (each.prompt * row.input + each.output * row.output) / _PER_MILLION
        if not scored:
            missing = "no engine counted tokens here"
        usd: dict[Mode, Decimal] = {} if missing else {"live": total * figures.answerable / scored}
        yield Offer(provider, model, False, usd, missing)
    for model in not_in_the_book(book):
        yield Offer(None, model, False, missing="not in the book")


def not_in_the_book(book: PriceBook) -> list[str]:
    """Models that people ask about, and that neither the book nor the user's file has."""
    known = {row.model for row in (*book.own.hosted, *book.hosted)}
    return [each.model for each in book.not_in_the_book if each.model not in known]


def _sum(parts: Iterable[Tokens]) -> Tokens:
    total = Tokens()
    for each in parts:
        total = total.plus(each)
    return total


def _mean(tokens: Tokens) -> str:
    read, written = (round(Decimal(number) / tokens.documents) for number in (tokens.prompt, tokens.output))
    return f"{read:,} read and {written:,} written"
