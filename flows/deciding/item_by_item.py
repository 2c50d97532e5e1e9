"""Deciding where each item is looked at alone: by a threshold, or, without one, for the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.run import Run
from flows.stages.planning import PlanSummary
from pipelines.cascade.decisions import Decisions, Rule, decide
from pipelines.predictions import read_predictions
from pipelines.scored_parts import is_scored, predictions_of
from pipelines.store.side_by_side import in_order


def decide_item_by_item(run: Run, plan: PlanSummary, rule: Rule) -> None:
    """Commit what the rule says of every scored item, and who is asked, unless both are committed already."""
    if run.decisions.doubtful_are_known:  # it is committed last
        return
    decided = list(in_order(lambda shard: _decide(run, rule, shard), range(plan.shards)))
    run.decisions.commit([decisions for decisions, _ in decided])
    run.decisions.commit_doubtful(doubtful for _, doubtful in decided)


def _decide(run: Run, rule: Rule, shard: int) -> tuple[Decisions, pa.Array[Any]]:
    """What stands of a shard, and the ids of what goes to Claude: what may leave, could be read, and does not stand."""
    part = run.parts.read(shard)
    scores = read_predictions(predictions_of(part), tuple(run.job.labels), run.question.calibration).scores
    decisions = decide(rule, scores)
    if run.job.escalation is None:
        return decisions, pa.array([], pa.string())
    stands = np.zeros(len(part), np.bool_)
    stands[is_scored(part)] = decisions.is_accepted
    may_leave = pc.and_(pc.is_null(part["failure"]), pc.is_null(part["withheld"])).to_numpy()
    return decisions, part["item_id"].combine_chunks().filter(pa.array(may_leave & ~stands))
