"""From plan, predictions and answers to result rows: one item, one row, one route.

Functions over tables: no store, no clock, no client. Everything here can be computed again from what is committed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.cascade.calibration import calibrated_confidence
from pipelines.cascade.confidence import Calibration, FloatArray, Scores
from pipelines.cascade.decisions import Decisions, Rule
from pipelines.costs.accounting import device_cost, to_money
from pipelines.costs.first_tier import TOKEN_COLUMNS, token_cost
from pipelines.errors import InvariantError
from pipelines.escalation.ledger import Standing
from pipelines.job.endpoint import TokenPrice
from pipelines.predictions import Predicted, read_predictions
from pipelines.routes import Route
from pipelines.scored_parts import carried_by, is_scored, predictions_of
from pipelines.store.schemas import RESULTS, WINDOW_ORDER, result_schema

ROUTES = tuple(Route)
REVIEWED_COLUMNS = ("findings", "dropped_findings")
_FREE = to_money(Decimal(0))


@dataclass(frozen=True)
class RunFacts:
    """What every row of a run has in common."""

    run_id: str
    task: str
    labels: tuple[str, ...]
    model: str
    model_revision: str
    device_hour_usd: Decimal | None
    calibration: Calibration | None
    raw_threshold: float | None  # what each item was held against; None: it was decided over the whole run
    is_escalating: bool
    first_tier_price: TokenPrice | None = None  # of a first tier over HTTP
    question: str | None = None  # one of several
    label: str | None = None  # that is asked about, where any may be chosen


@dataclass(frozen=True)
class DecidedShard:
    """Rows of every item of a shard in the plan's order, `result_schema`; ``is_doubtful`` marks those for Claude."""

    rows: pa.Table
    is_doubtful: NDArray[np.bool_]

    @property
    def settled(self) -> pa.Table:
        """Rows that are final without Claude."""
        return self.rows.filter(pa.array(~self.is_doubtful))

    @property
    def doubtful(self) -> pa.Table:
        """Rows of the items that wait for Claude's answer."""
        return self.rows.filter(pa.array(self.is_doubtful))


def shard_rows(facts: RunFacts, part: pa.Table, decisions: Decisions | None, settled_at: datetime) -> DecidedShard:
    """The rows of a shard, as far as engine, policy and what was decided go.

    Args:
        facts: of the run.
        part: see `pipelines.scored_parts`; where there is no engine, no item of it is scored and every one is doubtful.
        decisions: about the scored items; None before they are made: nothing is accepted.
        settled_at: for the rows that are final now.

    Raises:
        InvariantError: decisions and part do not belong together.
    """
    plan, scored = part, is_scored(part)
    predictions = predictions_of(part)
    count = len(predictions)
    if decisions and len(decisions.is_accepted) != count:
        raise InvariantError(f"decisions are not about the items of run {facts.run_id}; start a run with another id")
    predicted = read_predictions(predictions, facts.labels, facts.calibration) if count else None
    scores = predicted.scores if predicted else None
    is_readable = predicted.is_readable if predicted else np.zeros(0, np.bool_)
    accepts = decisions.is_accepted if decisions else np.zeros(count, np.bool_)
    confidence = _confidence(facts, predicted, decisions)
    windows = _windows(predictions)
    answers = _engine_answers(facts, predicted)

    spread = _Spread(scored)
    is_accepted = np.zeros(len(plan), np.bool_)
    is_accepted[scored] = accepts & is_readable
    unreadable = spread.values(predicted.failures if predicted else None)
    noted = _with_notes(plan, spread.values(predicted.notes if predicted else None))
    held = _held(facts, scores, ~(accepts & is_readable))
    routes = _routes(facts, noted, scored, is_accepted, unreadable, spread.values(held))
    costs = _first_costs(facts, predictions)
    columns: dict[str, Any] = {
        name: plan[name] for name in ("item_id", "document_id", "document_uri", "document_offset", "gold_label")
    }
    columns |= {
        "task": _Same(facts.task),
        "run_id": _Same(facts.run_id),
        "question": _Same(facts.question),
        "label": _Same(facts.label),
        "engine_answer": spread.values(answers),
        "findings": spread.values(predicted.findings if predicted else None),
        "dropped_findings": spread.values(predicted.dropped_findings if predicted else None),
        "answer": [answer if ok else None for answer, ok in zip(spread.values(answers), is_accepted, strict=True)],
        "confidence": spread.values(_calibrated_only(facts, predicted, confidence, windows)),
        "raw_prob": spread.values(_told(predicted, "raw_prob")),
        "label_mass": spread.values(_told(predicted, "label_mass")),
        "route": [route for route, _ in routes],
        "reason": [reason for _, reason in routes],
        "model": spread.values([facts.model] * count),
        "model_revision": spread.values([facts.model_revision] * count),
        "input_tokens": spread.values(predictions["input_tokens"].to_pylist(), elsewhere=0),
        "cached_tokens": spread.values(predictions["cached_tokens"].to_pylist(), elsewhere=0),
        "output_tokens": spread.values(predictions["output_tokens"].to_pylist(), elsewhere=0),
        **costs.columns(spread),
        "api_cost_usd": _Same(_FREE),
        "windows": spread.values(windows),
        "scored_at": spread.taken(predictions["scored_at"]),
        "settled_at": _Same(settled_at),
    }
    is_doubtful = np.array([facts.is_escalating and route is Route.REVIEW for route, _ in routes], np.bool_)
    # What was to stand over the whole run and cannot be read: nobody was asked about it, so a person is.
    is_doubtful[np.flatnonzero(scored)[accepts & ~is_readable]] = False
    return DecidedShard(_table(columns, len(plan), carried_by(part)), is_doubtful)


def answer_rows(
    doubtful: pa.Table,
    standings: Sequence[Standing],
    settled_at: datetime,
    model_suffix: str = "",
    verified: Mapping[str, Mapping[str, Any]] | None = None,
) -> pa.Table:
    """Final rows of escalated items.

    Args:
        doubtful: schema `result_schema`.
        standings: how each item ended, in the same order; cost and tokens of all requests made about it.
        settled_at: for all of them.
        model_suffix: appended to the model's name, e.g. to mark a simulation.
        verified: by item, the columns that Claude's review replaces; an item without one keeps the engine's. Where
            Claude's answer was cut, what it held is put to the engine's.
    """
    totals = [
        None if engine is None or standing.cost_usd is None else engine + standing.cost_usd
        for engine, standing in zip(doubtful["cost_usd"].to_pylist(), standings, strict=True)
    ]
    notes = doubtful["reason"].to_pylist()
    # That a review did not come to its end, or that a document was read in windows, the row says whatever else became
    # of the item.
    is_unfinished = pc.and_(pc.is_null(doubtful["engine_answer"]), pc.is_valid(doubtful["findings"]))
    keeps_note = pc.or_(is_unfinished, pc.is_valid(doubtful["windows"])).to_pylist()
    columns: dict[str, Any] = {name: doubtful[name] for name in RESULTS.names}
    columns |= {
        "answer": [standing.label for standing in standings],
        "confidence": _Same(None),  # nothing measured says how often Claude is right about these
        "route": [Route.REVIEW if standing.label is None else Route.ESCALATED for standing in standings],
        "reason": [
            f"{standing.reason}; {note}" if standing.reason and note and is_kept else standing.reason or note
            for standing, note, is_kept in zip(standings, notes, keeps_note, strict=True)
        ],
        "model": [standing.model and standing.model + model_suffix for standing in standings],
        "model_revision": _Same(None),
        # Claude's tokens are of another kind than the engine's: columns of their own, null where it read nothing.
        "api_input_tokens": [standing.input_tokens or None for standing in standings],
        "api_cached_tokens": [standing.cached_tokens if standing.input_tokens else None for standing in standings],
        "api_output_tokens": [standing.output_tokens if standing.input_tokens else None for standing in standings],
        "api_cost_usd": [standing.cost_usd for standing in standings],
        "cost_usd": totals,
        "settled_at": _Same(settled_at),
    }
    engine_reviews = doubtful.select(["item_id", *REVIEWED_COLUMNS]).to_pylist()
    reviews = [
        _reviewed(row, (verified or {}).get(row["item_id"]), standing)
        for row, standing in zip(engine_reviews, standings, strict=True)
    ]
    columns |= {name: [review[name] for review in reviews] for name in REVIEWED_COLUMNS}
    return _table(columns, len(standings), doubtful.drop_columns(RESULTS.names))


def _reviewed(engine: dict[str, Any], claude: Mapping[str, Any] | None, standing: Standing) -> Mapping[str, Any]:
    """The findings of an item: Claude's where it answered; of an answer that was cut, those besides the engine's."""
    if claude is None or standing.label is not None:
        return engine if claude is None else claude
    known = {_place(finding) for finding in engine["findings"] or ()}
    more = [finding for finding in claude["findings"] if _place(finding) not in known]
    return engine | {"findings": [*(engine["findings"] or ()), *more]}


def _place(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    return finding["path"], finding["line"], finding["category"]


@dataclass(frozen=True)
class _FirstCosts:
    """Of each scored item, what engines cost, or a first tier over HTTP: the other's columns are empty in all rows."""

    gpu_nanoseconds: list[int] | None
    usd: list[Decimal | None]

    def columns(self, spread: _Spread) -> dict[str, list[Any]]:
        """As the columns of the result."""
        costs = spread.values(self.usd, elsewhere=_FREE)
        if self.gpu_nanoseconds is None:
            return {"first_tier_cost_usd": costs, "cost_usd": costs}
        seconds = spread.values([value / 1e9 for value in self.gpu_nanoseconds], elsewhere=0.0)
        return {"gpu_seconds": seconds, "gpu_cost_usd": costs, "cost_usd": costs}


def _first_costs(facts: RunFacts, predictions: pa.Table) -> _FirstCosts:
    if "device_nanoseconds" not in predictions.column_names:
        counts = zip(*(predictions[name].to_pylist() for name in TOKEN_COLUMNS), strict=True)
        return _FirstCosts(None, [token_cost(facts.first_tier_price, *each) for each in counts])
    nanoseconds: list[int] = predictions["device_nanoseconds"].to_numpy().tolist()
    hour_usd = facts.device_hour_usd
    return _FirstCosts(
        nanoseconds, [None if hour_usd is None else device_cost(value, hour_usd) for value in nanoseconds]
    )


def _told(predicted: Predicted | None, name: Literal["raw_prob", "label_mass"]) -> Sequence[float | None] | None:
    """What is known of the engine's answers: of a first tier over HTTP, only what its server told."""
    if predicted is None:
        return None
    known: Sequence[float | None] = getattr(predicted.told, name) if predicted.told else getattr(predicted.scores, name)
    return known


def _windows(predictions: pa.Table) -> list[int | None]:
    """In how many windows each scored item was read; None where all of it was read at once."""
    if WINDOW_ORDER not in predictions.column_names:
        return [None] * len(predictions)
    counts: list[int | None] = pc.list_value_length(predictions[WINDOW_ORDER]).to_pylist()
    return counts


def _calibrated_only(
    facts: RunFacts, predicted: Predicted | None, values: FloatArray | None, windows: Sequence[int | None]
) -> Sequence[float | None] | None:
    """Of an answer that a first tier over HTTP did not give, nothing is to be known.

    Nor of one that several windows gave, by the model's own calibration: that is of documents that are read at once.
    """
    if predicted is None or values is None:
        return None
    is_of_the_model, is_over_http = facts.raw_threshold is not None, predicted.told is not None
    rows = zip(values.tolist(), predicted.failures, windows, strict=True)
    return [
        None if (failure and is_over_http) or (count and is_of_the_model) else value for value, failure, count in rows
    ]


def _confidence(facts: RunFacts, predicted: Predicted | None, decisions: Decisions | None) -> FloatArray | None:
    """Calibrated, shape [scored items]: by the model's own calibration, or by what the run's own labels taught."""
    if predicted is None:
        return None
    if facts.raw_threshold is not None or decisions is None:
        return predicted.scores.confidence
    if decisions.temperature is None:
        return None
    return calibrated_confidence(predicted.logprobs, decisions.temperature, decisions.by_answer)


def _engine_answers(facts: RunFacts, predicted: Predicted | None) -> list[str | None]:
    if predicted is None:
        return []
    pairs = zip(predicted.scores.answer.tolist(), predicted.failures, strict=True)
    return [None if failure else facts.labels[index] for index, failure in pairs]


@dataclass(frozen=True)
class _Spread:
    """Puts values of scored items into their places among all items."""

    is_scored: NDArray[np.bool_]

    @cached_property
    def _places(self) -> list[int]:
        places: list[int] = np.flatnonzero(self.is_scored).tolist()
        return places

    def values(self, scored: Sequence[Any] | NDArray[Any] | None, elsewhere: object = None) -> list[Any]:
        result: list[Any] = [elsewhere] * len(self.is_scored)
        if scored is not None:
            listed = scored.tolist() if isinstance(scored, np.ndarray) else scored
            for place, value in zip(self._places, listed, strict=True):
                result[place] = value
        elif elsewhere is not None:
            raise InvariantError("a column without values cannot have values elsewhere")
        return result

    def taken(self, scored: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
        """The same of a column, without a Python object for each value; null elsewhere."""
        return scored.take(pa.array(np.cumsum(self.is_scored) - 1, pa.int64(), mask=~self.is_scored))


def _held(facts: RunFacts, scores: Scores | None, is_wanted: NDArray[np.bool_]) -> list[str | None]:
    """Why a scored item's answer does not stand where nobody else is asked: what is compared, and with what."""
    if scores is None:
        return []
    if facts.raw_threshold is None:
        return ["not decided"] * len(scores.raw_prob)
    held: list[str | None] = [None] * len(scores.raw_prob)
    threshold = f"under {facts.raw_threshold:.10g} and escalation is off"
    numbers = [each[is_wanted].tolist() for each in (Rule.compared(scores), scores.raw_prob, scores.label_mass)]
    for place, product, share, mass in zip(np.flatnonzero(is_wanted).tolist(), *numbers, strict=True):
        under = _under(product, facts.raw_threshold)
        held[place] = f"raw_prob x label_mass = {under} ({share:.4f} x {mass:.4f}) {threshold}"
    return held


def _under(share: float, threshold: float) -> str:
    """What is under a threshold must not look like it."""
    rounded = round(share, 4)
    return f"{rounded if rounded < threshold else math.floor(share * 10_000) / 10_000:.4f}"


def _with_notes(plan: pa.Table, notes: Sequence[str | None]) -> pa.Table:
    """The plan with what is to be known of an answer behind what it notes itself."""
    if not any(notes):
        return plan
    pairs = zip(plan["note"].to_pylist(), notes, strict=True)
    both = ["; ".join(note for note in pair if note) or None for pair in pairs]
    return plan.set_column(plan.schema.get_field_index("note"), "note", pa.array(both, pa.string()))


def _routes(
    facts: RunFacts,
    plan: pa.Table,
    scored: NDArray[np.bool_],
    is_accepted: NDArray[np.bool_],
    unreadable: Sequence[str | None],
    held: Sequence[str | None],
) -> list[tuple[Route, str | None]]:
    """Route and reason of each item as far as the engine and the policy decide them.

    `review` is where a doubtful item stands until Claude has answered; with escalation off it stays there. What is
    withheld and not scored was withheld from the first tier itself, which others run.
    """
    routes: list[tuple[Route, str | None]] = []
    columns = [plan[name].to_pylist() for name in ("failure", "withheld", "note")]
    known = zip(*columns, scored.tolist(), is_accepted.tolist(), unreadable, held, strict=True)
    for failure, withheld, note, is_scored_here, accepted, no_answer, not_standing in known:
        if failure is not None:
            routes.append((Route.FAILED, failure))
        elif accepted:
            routes.append((Route.ACCEPTED, note))
        elif withheld is not None and (facts.is_escalating or not is_scored_here):
            routes.append((Route.WITHHELD, withheld))
        elif not facts.is_escalating:
            why = no_answer or not_standing or "not decided"
            routes.append((Route.REVIEW, f"{why}; {note}" if note else why))
        else:
            routes.append((Route.REVIEW, no_answer or note))
    return routes


@dataclass(frozen=True)
class _Same:
    """A value that all rows have."""

    value: object


def _table(columns: dict[str, Any], count: int, carried: pa.Table) -> pa.Table:
    """Rows of the columns that are given; the others are null."""
    arrays = [_array(columns.get(field.name, _Same(None)), field.type, count) for field in RESULTS]
    return pa.table([*arrays, *carried.columns], schema=result_schema(carried.schema))


def _array(values: Any, of_type: pa.DataType, count: int) -> Any:
    if isinstance(values, _Same):
        one: Any = pa.array([values.value], of_type)[0]
        return pa.repeat(one, count)
    return values.cast(of_type) if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, of_type)


def empty_results(carried: pa.Schema | None = None) -> pa.Table:
    """No rows: a run over nothing still leaves a data set that can be read."""
    return result_schema(carried or pa.schema([])).empty_table()
