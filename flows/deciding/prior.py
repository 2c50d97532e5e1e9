"""What a run is given of earlier runs' labels: chosen once, before the run buys its first, and written down.

    <run>/calibration/prior.json

So a resumed run plans from the very same labels, whichever other runs have ended meanwhile. It steers what the run
asks; what is certified rests on the run's own labels alone. What people have answered about an earlier run by then
counts among its labels.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from flows.deciding.profiles import Places, Profile, earlier_profiles, fingerprints_of, places_of, seen_of
from flows.run import Run
from pipelines.cascade.record import Fingerprints
from pipelines.cascade.rule.doubt import Seen
from pipelines.cascade.rule.earlier import LEAST_LABELS, MOST_RUNS
from pipelines.errors import JobError
from pipelines.people.answers import Answers
from pipelines.people.labels import labels_of_people
from pipelines.store import layout
from pipelines.store.objects import Store

# Raised when the rule asks other items than it did: an open run would pay for a second pilot and a second sample.
RULE = 4


class Taught(BaseModel):
    """What the labels of one earlier run said."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    places: Places


class Prior(BaseModel):
    """Whose labels, or why nobody's; a job's first run has neither. ``rule`` is the one that the run is begun under."""

    model_config = ConfigDict(frozen=True)

    rule: int = 1  # before rules were numbered
    reason: str | None = None
    runs: tuple[Taught, ...] = ()  # the newest first

    @property
    def labels(self) -> int:
        """How many."""
        return sum(labels for run in self.runs for _, _, labels, _ in run.places)

    @property
    def seen(self) -> tuple[Seen, ...]:
        """What they said, run by run."""
        return tuple(seen_of(run.places) for run in self.runs)


def commit_prior(run: Run) -> None:
    """Choose the newest earlier runs of the job that were made in the same way; the first choice stands.

    Raises:
        JobError: the profile of an earlier run cannot be read, or the run was begun under another rule.
    """
    if not run.store.exists(layout.PRIOR):
        run.store.create(layout.PRIOR, _choose(run).model_dump_json().encode())
    elif read_prior(run).rule != RULE:
        raise JobError(
            [
                f"quality: run {run.run_id} has begun to buy labels under another version's rule of whom to ask, and "
                "this one would buy others. Finish it by that version, or start anew with another --run-id"
            ]
        )


def read_prior(run: Run) -> Prior:
    """What was chosen; nothing before it was."""
    data = run.store.read_if_exists(layout.PRIOR)
    return Prior() if data is None else Prior.model_validate_json(data)


def _choose(run: Run) -> Prior:
    now, reason = fingerprints_of(run), None
    runs: list[Taught] = []
    for profile in (_with_people(run, each) for each in earlier_profiles(run)):
        refusal = _refusal(profile, now)
        if refusal is None:
            runs.append(Taught(run_id=profile.run_id, places=profile.places))
        reason = reason or refusal
        if len(runs) == MOST_RUNS:
            break
    return Prior(rule=RULE, reason=None if runs else reason, runs=tuple(runs))


def _with_people(run: Run, profile: Profile) -> Profile:
    """With what people have answered about that run, if its folder is still there."""
    if not any(Store(run.job.output).list(f"{profile.run_id}/{layout.PEOPLE}")):
        return profile
    store = Store(layout.below(run.job.output, profile.run_id))
    learnt = labels_of_people(store, Answers(store).by_item, profile.labels)
    return profile.model_copy(update={"places": (*profile.places, *places_of(learnt))})


def _refusal(profile: Profile, now: Fingerprints) -> str | None:
    if profile.fingerprints is None:
        return f"run {profile.run_id} is of an earlier version, which kept nothing to learn from"
    difference = now.difference(profile.fingerprints)
    if difference is not None:
        return f"run {profile.run_id} was made with {difference}"
    labels = int(seen_of(profile.places).labels.sum())
    if labels < LEAST_LABELS:
        return f"run {profile.run_id} has {labels} labels to learn from; {LEAST_LABELS} are needed"
    return None
