"""Deciding where each item is looked at alone: by a threshold, or, without one, for the engine."""

from __future__ import annotations

from collections.abc import Iterator

from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.cascade.decisions import Decisions, Rule, decide
from pipelines.predictions import read_predictions
from pipelines.store import layout
from pipelines.store.schemas import from_arrow


def decide_item_by_item(run: Run, plan: PlanSummary, rule: Rule) -> None:
    """Commit what the rule says of every scored item, unless it is committed already."""
    if run.has_engine and not run.decisions.are_made:
        run.decisions.commit(_decide(run, plan, rule))


def _decide(run: Run, plan: PlanSummary, rule: Rule) -> Iterator[Decisions]:
    for shard in range(plan.shards):
        predictions = from_arrow(run.store.read(layout.predictions_part(shard)), run.question.decided_by)
        scores = read_predictions(predictions, tuple(run.job.labels), run.question.calibration).scores
        yield decide(rule, scores)
