"""Keeping a quality target, or spending a budget: ask Claude batch by batch, then decide once over the whole run.

    population ──> steps of the rule ──> ask ──> labels ──> steps … ──> decisions

What to ask next is worked out anew from the committed predictions, the prior and the journal, so a run that was killed
goes on with the very items that it would have asked. The decisions are one object, created once; from then on every
row of the run follows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np

from flows.console.progress import ProgressReporter
from flows.deciding.decisions import DEFAULT_ASSURANCE, RuleOutcome, commit_decisions, promise_of, read_record
from flows.deciding.population import Population, read_population
from flows.deciding.prior import commit_prior
from flows.deciding.terms import begin_term
from flows.escalation.escalate import Escalated, EscalationLoop
from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.cascade.audit import audit, audit_items
from pipelines.cascade.rule.budget import Reached, Spending, budget_steps, when_stopped
from pipelines.cascade.rule.doubt import IntArray
from pipelines.cascade.rule.history import Ask, Stage, pilot_items, pilot_size, walk
from pipelines.cascade.rule.scored import AGREES, UNASKED, Labels
from pipelines.cascade.rule.target import Settled, target_steps
from pipelines.cascade.rule.term import term_steps
from pipelines.errors import InvariantError
from pipelines.escalation.provider import BatchProvider
from pipelines.job.sections import Quality
from pipelines.routes import Stop

Steps = Callable[[Labels], Generator[Ask, None, Settled | Reached]]

_ORDER: tuple[Stage, ...] = ("pilot", "certify", "escalate")
_WHAT_FOR: dict[Stage, str] = {
    "pilot": "to learn where the engine errs",
    "certify": "to certify what may stand: drawn at random, or beyond hope",
    "escalate": "whose answers may not stand as they are",
}
_WITH_A_PILOT = "to learn where the engine errs, and to certify what may stand"
_AT_ONCE = "asked at once: to learn and certify first would spare too few of them to be waited for"
_NOT_YET = "asked in full: what they spare is left to the next runs of the term"


def settle_quality(
    run: Run,
    plan: PlanSummary,
    provider: BatchProvider,
    progress: ProgressReporter,
    *,
    wait: bool,
    until: Stage | None = None,
) -> Escalated:
    """Ask, decide and publish what Claude answered, as far as it goes without waiting, and no further than ``until``.

    Raises: see `Escalation.ask` and `commit_prior`.
    """
    escalation = EscalationLoop(run, plan, provider, progress)
    escalation.replay()
    record = read_record(run)
    if record is None:
        commit_prior(run)
        population = read_population(run, plan)
        outcome = _Asking(run, population, escalation, progress, wait, until).outcome()
        if outcome is None:
            return Escalated(is_done=False)
        escalation.seal(outcome.stop)  # what is decided from here on, nobody may change by asking more
        record = commit_decisions(run, population, escalation.ledger, outcome)
    if record.stopped_by:
        escalation.close(record.stopped_by)
    return Escalated(is_done=True, stop=record.stopped_by)


class _Asking:
    """The asking of one run, in one process."""

    def __init__(
        self,
        run: Run,
        population: Population,
        escalation: EscalationLoop,
        progress: ProgressReporter,
        wait: bool,
        until: Stage | None,
    ) -> None:
        self._run, self._population, self._escalation = run, population, escalation
        self._progress, self._wait, self._until = progress, wait, until
        self._promise = promise_of(run)
        self._assurance = self._promise.assurance if self._promise else DEFAULT_ASSURANCE
        self._term = begin_term(run, self._promise, len(population.scored))
        self._steps = self._choose_steps()

    def outcome(self) -> RuleOutcome | None:
        """None where answers are still to come and nobody waits, or no more are wanted now."""
        while True:
            labels = self._labels()
            walked = walk(self._steps(labels), labels)
            if walked.end is not None:
                return self._audited(walked.finished, walked.end)
            ask = walked.unfinished
            assert ask is not None
            asks = [*walked.finished, ask]
            if self._until and _ORDER.index(ask.stage) > _ORDER.index(self._until):
                self._ask_pilot(ask)
                return None
            self._progress.say(f"round {ask.round}   {len(ask.items):,} items {self._what_for(ask)}")
            looked_back_at = self._audit_at_once(asks)
            if len(looked_back_at):
                self._progress.say(f"audit     {len(looked_back_at):,} of the accepted items, with them")
            items = np.r_[ask.items, looked_back_at]
            escalated = self._escalation.ask(self._population.asked(items), wait=self._wait)
            if not escalated.is_done:
                return None
            if escalated.stop:
                return self._stopped(asks, escalated.stop)
            if (self._labels()[ask.items] == UNASKED).any():
                raise InvariantError(
                    f"run {self._run.run_id} was closed with all the answers that it needed, and now needs more; "
                    "was it begun by another version of Sluice? Start a new run with another --run-id"
                )

    def _what_for(self, ask: Ask) -> str:
        if ask.is_at_once:
            return _NOT_YET if self._term else _AT_ONCE
        return _WITH_A_PILOT if len(ask.pilot) else _WHAT_FOR[ask.stage]

    def _ask_pilot(self, ask: Ask) -> None:
        """For who wants no more than a pilot: a larger one than teaches beside a sample; most of it is asked anyway."""
        if self._until == "pilot" and len(ask.pilot):
            scored = self._population.scored
            items = pilot_items(scored, pilot_size(scored), is_even=False)
            self._progress.say(f"pilot     {len(items):,} items {_WHAT_FOR['pilot']}")
            self._escalation.ask(self._population.asked(items), wait=self._wait)

    def _choose_steps(self) -> Steps:
        scored, promise, term = self._population.scored, self._promise, self._term
        if term:
            return lambda labels: term_steps(scored, term.term, term.planned, term.count, labels)
        if promise:
            return lambda labels: target_steps(scored, promise, labels)
        budget_usd = self._run.job.budget_usd
        assert budget_usd is not None, "a job without a target or a threshold has a budget"
        cost_usd = self._escalation.worst_costs_usd(self._population.text_bytes)
        spending = Spending(cost_usd, float(budget_usd), self._assurance)
        return lambda labels: budget_steps(scored, spending, labels, self._population.paid_usd(self._escalation.ledger))

    def _labels(self) -> Labels:
        return self._population.labels(self._escalation.ledger, tuple(self._run.job.labels))

    def _stopped(self, asks: Sequence[Ask], stop: Stop) -> RuleOutcome:
        """Only what the last batch would have left alone keeps the engine's answer; all the rest is held."""
        labels, ask = self._labels(), asks[-1]
        is_accepted = (labels == UNASKED) & (ask.stage == "escalate")
        is_accepted[ask.items] = False
        reached = None
        if self._promise and not self._term:
            reached = when_stopped(self._population.scored, self._promise, labels)
        return RuleOutcome(labels, is_accepted, asks, reached, stop=stop)

    def _audit_at_once(self, asks: Sequence[Ask]) -> IntArray:
        """What is to be looked at, where this is the last batch, so that it need not wait for one of its own.

        With a budget beside the target it does: what the promise needs is paid first.
        """
        is_last = asks[-1].stage == "escalate" and self._promise is not None
        if not is_last or self._run.job.budget_usd is not None:
            return np.zeros(0, np.int64)
        is_accepted = np.ones(len(self._population.scored), np.bool_)
        is_accepted[np.concatenate([ask.items for ask in asks])] = False
        return audit_items(self._population.scored, is_accepted, self._audit_size())

    def _audit_size(self) -> int:
        quality = self._run.job.quality
        return quality.audit_items if isinstance(quality, Quality) and not self._term else 0

    def _audited(self, asks: Sequence[Ask], end: Settled | Reached) -> RuleOutcome | None:
        """Ask about a few of the accepted items, drawn by chance: a look back, by which nothing is decided."""
        items = audit_items(self._population.scored, end.is_accepted, self._audit_size())
        if (self._labels()[items] == UNASKED).any():
            self._progress.say(f"audit     {len(items):,} of the accepted items")
            if not self._escalation.ask(self._population.asked(items), wait=self._wait).is_done:
                return None
        labels = self._labels()
        looked_at = None
        if len(items) and (labels[items] != UNASKED).all():  # a budget may end here: the promise holds without it
            wrong = int((labels[items] > AGREES).sum())
            looked_at = audit(int(end.is_accepted.sum()), len(items), wrong, self._assurance)
        return RuleOutcome(labels, end.is_accepted & (labels == UNASKED), asks, end, looked_at)
