"""What each run with a target or a budget looked like, kept beside the runs of its job, to see when documents change.

    <output>/_quality/<job>/<started at>-<run id>.json

A promise is certified anew by every run, so drift breaks none; it says why a run asked more, or less, than the last.
What the labels of a run said is kept too, for the next run to begin with.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from flows.questions.several import OneOfSeveral
from flows.run import Run
from pipelines.cascade.audit import Drift, measure_drift
from pipelines.cascade.record import Fingerprints
from pipelines.cascade.rule.doubt import Seen
from pipelines.cascade.rule.scored import Scored
from pipelines.cascade.rule.target import Settled
from pipelines.errors import JobError
from pipelines.store import layout
from pipelines.store.objects import Store

_QUANTILES = 201
_LOOK_BACK = 50  # runs; a job that had as many of another kind begins anew

Places = tuple[tuple[float, int, int, int], ...]  # rank, answer, labels, wrong ones of these; see `Seen`


class Profile(BaseModel):
    """One run's documents as its engine saw them."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    model_revision: str
    prompt: str
    labels: tuple[str, ...]
    label_counts: tuple[int, ...]
    confidence_quantiles: tuple[float, ...]
    agreement: float | None  # of the engine with Claude, as the certifying sample has it
    # Profiles from before these were kept have neither.
    fingerprints: Fingerprints | None = None
    places: Places = ()

    def is_comparable(self, other: Profile) -> bool:
        """Whether both were seen by the same engine, asked the same question."""
        mine, theirs = ((each.model_revision, each.prompt, each.labels) for each in (self, other))
        return mine == theirs and bool(sum(self.label_counts)) and bool(sum(other.label_counts))


def compare_with_last(run: Run, scored: Scored, settled: Settled | None, learnt: Seen) -> tuple[str, Drift] | None:
    """Keep the run's profile; how far it is from the last comparable one before it, and that one's run id.

    Raises: see `earlier_profiles`.
    """
    profile = _profile(run, scored, settled, learnt)
    Store(run.job.output).create(_key(run), profile.model_dump_json().encode())
    for last in earlier_profiles(run):
        if profile.is_comparable(last):
            return last.run_id, _drift(last, profile)
    return None


def earlier_profiles(run: Run) -> Iterator[Profile]:
    """Those of the job's runs that began before this one, the newest first.

    Raises:
        JobError: one of them cannot be read.
    """
    store, own = Store(run.job.output), _key(run)
    folder = _folder(run)
    for key in sorted((other for other in store.list(folder) if other < own), reverse=True)[:_LOOK_BACK]:
        try:
            yield Profile.model_validate_json(store.read(key))
        except ValidationError as error:
            problem = f"{store.uri(key)} is not the profile of a run ({error.error_count()} mistakes); remove it"
            raise JobError([f"output: {problem}"]) from error


def fingerprints_of(run: Run) -> Fingerprints:
    """What the run's rule, its confidence and its labels hold for."""
    escalation, model = run.job.escalation, run.question.model
    return Fingerprints(
        model=run.record.model,
        model_revision=run.record.model_revision,
        prompt=run.record.prompt_fingerprint,
        labels=tuple(run.job.labels),
        asked=tuple(tier.model for tier in escalation.all_tiers) if escalation else (),
        engine=dict(model.engine) if model else {},
        versions=run.record.versions,
    )


def seen_of(places: Places) -> Seen:
    """As arrays."""
    rank, answer, labels, wrong = np.array(places, np.float64).reshape(-1, 4).T
    return Seen(rank, answer.astype(np.int64), labels, wrong)


def places_of(seen: Seen) -> Places:
    """As they are kept."""
    columns = (each.tolist() for each in (seen.rank, seen.answer, seen.labels, seen.wrong))
    return tuple((rank, answer, int(labels), int(wrong)) for rank, answer, labels, wrong in zip(*columns, strict=True))


def job_key(run: Run) -> str:
    """The job's name; each of several questions has its own, which no job can have."""
    question = run.question.key if isinstance(run.question, OneOfSeveral) else None
    return run.job.name if question is None else f"{run.job.name}.{question}"


def _folder(run: Run) -> str:
    """Of the job's runs."""
    return layout.quality_folder(job_key(run))


def _key(run: Run) -> str:
    return f"{_folder(run)}/{run.record.created_at:%Y%m%dT%H%M%S}-{run.run_id}.json"


def _profile(run: Run, scored: Scored, settled: Settled | None, learnt: Seen) -> Profile:
    facts = settled.certificate if settled else None
    levels = np.linspace(0, 1, _QUANTILES)
    return Profile(
        run_id=run.run_id,
        model_revision=run.record.model_revision,
        prompt=run.record.prompt_fingerprint,
        labels=tuple(run.job.labels),
        label_counts=tuple(np.bincount(scored.answer, minlength=len(run.job.labels)).tolist()),
        confidence_quantiles=tuple(np.quantile(scored.confidence, levels).tolist()) if len(scored) else (),
        agreement=facts.agreement if facts else None,
        fingerprints=fingerprints_of(run),
        places=places_of(learnt),
    )


def _drift(last: Profile, now: Profile) -> Drift:
    return measure_drift(
        (np.array(last.label_counts), np.array(now.label_counts)),
        (np.array(last.confidence_quantiles), np.array(now.confidence_quantiles)),
        (last.agreement, now.agreement),
    )
