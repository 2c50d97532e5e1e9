"""What a job would cost at several targets, from a pilot: the only labels that are bought for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from flows.console.progress import ProgressReporter
from flows.deciding.decisions import promise_of
from flows.deciding.population import read_population
from flows.deciding.run_labels import replay
from flows.estimate.sample import reckoned_usd, refuse_term
from flows.questions.several import refuse_several
from flows.run import Run
from flows.stages.planning import PlanSummary, read_plan
from flows.submit import begin_job, process_run
from pipelines.cascade.rule.estimate import Estimate, estimate_asked
from pipelines.cascade.rule.history import Stage
from pipelines.cascade.rule.scored import UNASKED
from pipelines.costs.accounting import to_money
from pipelines.errors import JobError, SluiceError
from pipelines.job.job_file import load_job
from pipelines.scored_parts import predictions_of, read_scored_part

SHOWN_TARGETS = (0.90, 0.95, 0.99)


@dataclass(frozen=True)
class Estimates:
    """For a run, by rising target; costs are US dollars of Claude."""

    run_id: str
    items: int
    labelled: int
    mean_cost_usd: Decimal | None  # of one item, as the labels bought so far cost; by the engine's tokens without any
    spent_usd: Decimal | None
    by_target: tuple[Estimate, ...]

    def cost_usd(self, items: int) -> Decimal | None:
        """Cost of asking Claude about a number of items; None where no price is known."""
        return None if self.mean_cost_usd is None else to_money(self.mean_cost_usd * items)

    def as_json(self) -> dict[str, Any]:
        """Values that ``--json`` prints."""
        return {
            "run_id": self.run_id,
            "items": self.items,
            "labelled": self.labelled,
            "spent_usd": self.spent_usd,
            "all_claude_usd": self.cost_usd(self.items),
            "targets": [
                {
                    "target": each.promise.target,
                    "assurance": each.promise.assurance,
                    "asked": each.asked,
                    "least": each.least,
                    "most": each.most,
                    "cost_usd": self.cost_usd(each.asked),
                }
                for each in self.by_target
            ],
        }


def estimate_job(path: Path, overrides: dict[str, Any], progress: ProgressReporter) -> Estimates:
    """Score the documents, buy the pilot's labels, and play the rest. `pipeline submit` goes on with the same run.

    Raises:
        JobError: with every problem of the job, or it has no target.
        ServiceError: something outside failed; what is committed is kept.
    """
    run = buy_labels(path, overrides, "pilot", progress)
    plan = read_plan(run)
    assert plan is not None, "the pilot is asked about a whole plan"
    population, ledger = read_population(run, plan), replay(run)
    labels = population.labels(ledger, tuple(run.job.labels))
    promise = promise_of(run)
    assert promise is not None, "checked before the run was begun"
    targets = sorted({*SHOWN_TARGETS, promise.target})
    labelled, spent = int((labels != UNASKED).sum()), ledger.committed_usd
    mean = spent / labelled if spent is not None and labelled else None
    return Estimates(
        run_id=run.run_id,
        items=len(population.scored),
        labelled=labelled,
        mean_cost_usd=mean if labelled else _reckoned_usd(run, plan),
        spent_usd=spent,
        by_target=tuple(
            estimate_asked(population.scored, replace(promise, target=target), labels) for target in targets
        ),
    )


def _reckoned_usd(run: Run, plan: PlanSummary) -> Decimal | None:
    """Of one item, where none was bought: by the engine's count of tokens."""
    parts = [predictions_of(read_scored_part(run.store, shard)) for shard in range(plan.shards)]
    tokens = sum(pc.sum(part["input_tokens"]).as_py() or 0 for part in parts)
    told = sum(len(part) - part["input_tokens"].null_count for part in parts)
    return reckoned_usd(run.job, tokens / told) if told else None


def buy_labels(path: Path, overrides: dict[str, Any], until: Stage, progress: ProgressReporter) -> Run:
    """Bring the job's run as far as the labels of a stage, and no further.

    Raises:
        SluiceError: nearly all items failed, and the run is complete; else see `estimate_job`.
    """
    job = load_job(path, overrides)
    refuse_several(job, path)
    refuse_term(job)
    run = begin_job(path, overrides, None, progress.say)
    if run.job.dial != "target":
        raise JobError(["quality: give a target; only for a target are labels bought ahead of the rest"])
    outcome = process_run(run, path, wait=True, progress=progress, until=until)
    if outcome.summary and outcome.summary.problem:
        raise SluiceError(f"nothing to ask about: {outcome.summary.problem}")
    return run
