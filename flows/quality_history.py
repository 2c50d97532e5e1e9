"""What each run with a target or a budget looked like, kept beside the runs of its job, to see when documents change.

    <output>/_quality/<job>/<started at>-<run id>.json

A promise is certified anew by every run, so drift breaks none; it says why a run asked more, or less, than the last.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from flows.population import Population
from flows.run import Run
from pipelines.cascade.audit import Drift, measure_drift
from pipelines.cascade.rule.target import Settled
from pipelines.store import layout
from pipelines.store.objects import Store

_QUANTILES = 201


class Profile(BaseModel):
    """One run's documents as its engine saw them."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    model_revision: str
    prompt: str
    labels: tuple[str, ...]
    label_counts: tuple[int, ...]
    confidence_quantiles: tuple[float, ...]
    agreement: float | None  # of the certifying sample

    def is_comparable(self, other: Profile) -> bool:
        """Whether both were seen by the same engine, asked the same question."""
        mine, theirs = ((each.model_revision, each.prompt, each.labels) for each in (self, other))
        return mine == theirs and bool(sum(self.label_counts)) and bool(sum(other.label_counts))


def compare_with_last(run: Run, population: Population, settled: Settled | None) -> tuple[str, Drift] | None:
    """Keep the run's profile; how far it is from the last comparable one before it, and that one's run id."""
    store, folder = Store(run.job.output), layout.quality_folder(run.job.name)
    profile = _profile(run, population, settled)
    key = f"{folder}/{run.record.created_at:%Y%m%dT%H%M%S}-{run.run_id}.json"
    store.create(key, profile.model_dump_json().encode())
    for earlier in sorted((other for other in store.list(folder) if other < key), reverse=True):
        last = Profile.model_validate_json(store.read(earlier))
        if profile.is_comparable(last):
            return last.run_id, _drift(last, profile)
    return None


def _profile(run: Run, population: Population, settled: Settled | None) -> Profile:
    scored, facts = population.scored, settled.certificate if settled else None
    levels = np.linspace(0, 1, _QUANTILES)
    return Profile(
        run_id=run.run_id,
        model_revision=run.record.model_revision,
        prompt=run.record.prompt_fingerprint,
        labels=tuple(run.job.labels),
        label_counts=tuple(np.bincount(scored.answer, minlength=len(run.job.labels)).tolist()),
        confidence_quantiles=tuple(np.quantile(scored.confidence, levels).tolist()) if len(scored) else (),
        agreement=1 - facts.sample_wrong / facts.sample if facts and facts.sample else None,
    )


def _drift(last: Profile, now: Profile) -> Drift:
    return measure_drift(
        (np.array(last.label_counts), np.array(now.label_counts)),
        (np.array(last.confidence_quantiles), np.array(now.confidence_quantiles)),
        (last.agreement, now.agreement),
    )
