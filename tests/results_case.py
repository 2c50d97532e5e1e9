"""Rows of a shard whose items are each decided by a threshold, as a run without a target decides."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from pipelines.cascade.decisions import Rule, decide
from pipelines.predictions import read_predictions
from pipelines.results import DecidedShard, RunFacts, shard_rows
from pipelines.scored_parts import items_of, scored_part


def threshold_rows(facts: RunFacts, plan: pa.Table, predictions: pa.Table, settled_at: datetime) -> DecidedShard:
    """The rows under the threshold of ``facts``."""
    assert facts.raw_threshold is not None
    scores = read_predictions(predictions, facts.labels, facts.calibration).scores
    part = scored_part(items_of(plan), predictions)
    return shard_rows(facts, part, decide(Rule(raw_threshold=facts.raw_threshold), scores), settled_at)
