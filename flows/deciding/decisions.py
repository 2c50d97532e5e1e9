"""From the outcome of the asking to the decisions of a run: what stands, how sure, and the record of why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from flows.deciding.population import Population, read_scored_shard
from flows.deciding.prior import read_prior
from flows.deciding.profiles import compare_with_last, fingerprints_of
from flows.deciding.terms import Place, begun_term, why_alone
from flows.run import Run
from flows.stages.planning import read_plan
from pipelines.adapting.labels import at_one_rate
from pipelines.cascade.audit import Audit
from pipelines.cascade.calibration import FittedTemperature, fit_temperature
from pipelines.cascade.decisions import Decisions
from pipelines.cascade.record import RuleRecord, as_json
from pipelines.cascade.rule.budget import Reached
from pipelines.cascade.rule.doubt import BoolArray, IntArray
from pipelines.cascade.rule.earlier import count_labels
from pipelines.cascade.rule.history import Ask
from pipelines.cascade.rule.scored import UNANSWERED, UNASKED, Labels, Scored
from pipelines.cascade.rule.target import Settled, Target
from pipelines.cascade.statement import (
    state_alone,
    state_copies,
    state_drift,
    state_prior,
    state_reached,
    state_stopped,
    state_target,
    state_term,
)
from pipelines.escalation.ledger import Ledger
from pipelines.job.sections import Quality
from pipelines.routes import Stop
from pipelines.store import layout
from pipelines.store.side_by_side import in_order

DEFAULT_ASSURANCE = 0.95


@dataclass(frozen=True)
class RuleOutcome:
    """What the asking came to, over the whole population; arrays of shape [items]."""

    labels: Labels
    is_accepted: BoolArray
    asks: Sequence[Ask]
    end: Settled | Reached | None  # None: stopped, with nothing to be said of what was reached
    audit: Audit | None = None
    stop: Stop | None = None


def read_record(run: Run) -> RuleRecord | None:
    """What was decided; None before it is."""
    data = run.store.read_if_exists(layout.RULE)
    return None if data is None else RuleRecord.model_validate_json(data)


def commit_decisions(run: Run, population: Population, ledger: Ledger, outcome: RuleOutcome) -> RuleRecord:
    """Decide every scored item, once; then write down why."""
    fitted = _fit_confidence(run, population, ledger, outcome)
    stands = _stands(population, outcome.is_accepted, len(run.job.labels))
    run.decisions.commit([Decisions(is_accepted, fitted.temperature, fitted.by_answer) for is_accepted in stands])
    record = _record(run, population, outcome, fitted)
    run.store.create(layout.RULE, record.model_dump_json(indent=2).encode())
    return record


def _surest_needed(population: Population, is_accepted: BoolArray, labels: int) -> NDArray[np.float64]:
    """The least confidence accepted of each answer: what a withheld item, which nobody may ask about, must have."""
    least = np.full(labels, np.inf)
    scored = population.scored
    np.minimum.at(least, scored.answer[is_accepted], scored.confidence[is_accepted])
    return least


def _stands(population: Population, is_accepted: BoolArray, labels: int) -> Iterator[BoolArray]:
    """What stands of all that was scored, withheld items among it; by shard."""
    withheld = population.withheld
    withheld_stand = withheld.confidence >= _surest_needed(population, is_accepted, labels)[withheld.answer]
    first = first_withheld = 0
    for may_be_sent in population.may_be_sent:
        stands = np.empty(len(may_be_sent), np.bool_)
        end, end_withheld = first + int(may_be_sent.sum()), first_withheld + int((~may_be_sent).sum())
        stands[may_be_sent] = is_accepted[first:end]
        stands[~may_be_sent] = withheld_stand[first_withheld:end_withheld]
        first, first_withheld = end, end_withheld
        yield stands


def _fit_confidence(run: Run, population: Population, ledger: Ledger, outcome: RuleOutcome) -> FittedTemperature:
    """From all labels that were bought before it was known what may stand, each for as many items as it stands for.

    Those beside an answer that could not be read say nothing of how sure the engine was.
    """
    weight = np.zeros(len(population.scored))
    for ask in outcome.asks:
        if ask.stage != "escalate" or ask.is_at_once:
            weight[ask.items] = ask.weights
    is_answered = ~population.scored.has_no_answer & (outcome.labels != UNANSWERED) & (outcome.labels != UNASKED)
    bought = np.flatnonzero((weight > 0) & is_answered)
    codes = {name: code for code, name in enumerate(run.job.labels)}
    given = ledger.settled_labels()
    logprobs, claude = [np.zeros((0, len(codes)))], [np.zeros(0, np.int64)]
    cuts = np.searchsorted(bought, population.shard_ends)
    shards = np.flatnonzero(np.diff(cuts, prepend=0)).tolist()
    for shard, items in zip(shards, in_order(lambda shard: read_scored_shard(run, shard), shards), strict=True):
        first = cuts[shard - 1] if shard else 0
        start = int(population.shard_ends[shard - 1]) if shard else 0
        within = np.flatnonzero(items.may_be_sent)[bought[first : cuts[shard]] - start]
        logprobs.append(items.logprobs[within])
        names = [given[item_id] for item_id in items.item_ids.take(within).to_numpy(zero_copy_only=False).tolist()]
        claude.append(np.array([codes[str(name)] for name in names], np.int64))
    return fit_temperature(np.concatenate(logprobs), np.concatenate(claude), population.scored.seed, weight[bought])


def taught_by(scored: Scored, asks: Sequence[Ask]) -> IntArray:
    """The pilot, and what is as good as a random sample; the rest is doubtful, and would crowd them out.

    Where all was asked at once, all of it.
    """
    pilots = [ask.items if ask.stage == "pilot" or ask.is_at_once else ask.pilot for ask in asks]
    taught: IntArray = np.unique(np.concatenate([at_one_rate(asks, scored.generator("taught")), *pilots]))
    return taught


def _record(run: Run, population: Population, outcome: RuleOutcome, fitted: FittedTemperature) -> RuleRecord:
    promise, prior, scored = promise_of(run), read_prior(run), population.scored
    learnt = count_labels(scored, outcome.labels, taught_by(scored, outcome.asks))
    compared = compare_with_last(run, scored, outcome.end if isinstance(outcome.end, Settled) else None, learnt)
    runs = [each.run_id for each in prior.runs]
    term = begun_term(run, promise, len(scored))
    place = term.place() if term else None
    statement = [
        _statement(promise, outcome, place),
        *state_alone(why_alone(run)),
        *state_prior(runs, prior.labels, prior.reason, is_of_term=place is not None),
    ]
    statement += [state_drift(*compared)] if compared else []
    plan = read_plan(run)
    statement += [state_copies(plan.duplicate_items)] if plan and plan.duplicate_items else []
    return RuleRecord(
        dial=run.job.dial,
        target=promise.target if promise else None,
        assurance=promise.assurance if promise else DEFAULT_ASSURANCE,
        agreement_lower=_agreement_lower(promise, outcome),
        statement="\n".join(statement),
        stopped_by=outcome.stop,
        certificate=as_json(outcome.end) if isinstance(outcome.end, Settled) else None,
        reached=as_json(outcome.end) if isinstance(outcome.end, Reached) else None,
        audit=as_json(outcome.audit),
        calibration=as_json(fitted) or {},
        drift={"since": compared[0], **asdict(compared[1])} if compared else None,
        term=place.model_dump(mode="json", exclude={"run_id"}) if place else None,
        prior={"run_id": runs[0] if runs else None, "runs": runs, "labels": prior.labels, "reason": prior.reason},
        fingerprints=fingerprints_of(run),
    )


def promise_of(run: Run) -> Target | None:
    """The run's target, if it has one."""
    quality = run.job.quality
    if isinstance(quality, Quality) and quality.target is not None:
        return Target(quality.target, quality.assurance, quality.audit_items)
    return None


def _agreement_lower(promise: Target | None, outcome: RuleOutcome) -> float | None:
    if isinstance(outcome.end, Settled) and not outcome.end.certificate.items:
        return None
    if outcome.stop or not isinstance(outcome.end, Settled):
        return outcome.end.agreement_lower if isinstance(outcome.end, Reached) else None
    return promise.target if promise else None


def _statement(promise: Target | None, outcome: RuleOutcome, place: Place | None) -> str:
    if promise and isinstance(outcome.end, Settled):
        if place:
            return state_term(promise, outcome.end, place.term, place.runs)
        return state_target(promise, outcome.end, outcome.audit)
    reached = outcome.end if isinstance(outcome.end, Reached) else None
    if outcome.stop:
        accepted = int(outcome.is_accepted.sum())
        held = int((outcome.labels == UNASKED).sum()) - accepted
        return state_stopped(promise, outcome.stop.value, reached, accepted, held)
    assert reached is not None, "a budget ends with what was reached"
    return state_reached(DEFAULT_ASSURANCE, reached)
