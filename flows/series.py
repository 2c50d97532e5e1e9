"""A series: the runs of one job over an input that grows, each taking what no earlier one has taken.

The chain lies under ``<output>/_series/<job name>/``. Run n is claimed by creating ``runs/n.json``, which names the
list of its files; that is possible only once run n-1 is complete, so runs of a series never overlap, and what is
taken is what the claims name. A claim without a complete run is an order: whoever comes next carries it out.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from flows.questions.over_http import model_of
from flows.questions.question import Question
from flows.questions.registry import question_of
from flows.run import Run, open_run, prepare_run
from flows.touched_input import input_fingerprint
from pipelines.adapting.chain import AdaptedTo, AdapterChain
from pipelines.documents.records import SourceFile
from pipelines.documents.sources.since_last import merge_taken, not_taken, sources_of, sources_table, taken_of
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job
from pipelines.job.sections import ModelSource
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow, to_arrow

# How many lists may pile up before what is taken is written down in one piece.
_LISTS_BETWEEN_MERGES = 50


class SeriesClaim(BaseModel):
    """runs/n.json: run n of the series is this one."""

    model_config = ConfigDict(frozen=True)

    number: int
    run_id: str
    claimed_at: datetime
    token: str
    # Which training's adapter it uses: decided once, however often the run has to be prepared.
    adapter: int | None = Field(None, exclude_if=lambda adapter: adapter is None)


@dataclass(frozen=True)
class ClaimedRun:
    """The run to be processed next, and whether this very call has claimed it."""

    run: Run
    is_new: bool


class Series:
    """The series of a job: its name, below its output."""

    def __init__(self, job: Job) -> None:
        if job.limits.documents is not None:  # a file whose first documents alone were read would pass for taken
            raise JobError(["limits.documents: a series reads every document of its files; leave the limit out"])
        self.job = job
        self._store = Store(layout.below(job.output, layout.series_folder(job.name)))
        self.adapters = AdapterChain(self._store)

    def unfinished(self) -> Run | None:
        """The newest run, if it is not complete; its record is committed now, if a kill has prevented that.

        Raises:
            JobError: it cannot go on as it was begun.
        """
        claim = self._newest()
        if claim is None or self._is_done(claim):
            return None
        return self._prepare(claim)

    def claim_next(self, sources: list[SourceFile]) -> ClaimedRun | None:
        """Claim a run over the files that no run has taken yet; None if there are none.

        Args:
            sources: everything that is there now.

        Returns:
            The new run; or, if another process was faster, the run which that one has claimed.
        """
        newest = self._newest()
        if newest and not self._is_done(newest):
            return ClaimedRun(self._prepare(newest), is_new=False)
        number = newest.number + 1 if newest else 1
        new = not_taken(sources, self._taken(number - 1))
        if not new:
            return None
        claim = SeriesClaim(
            number=number,
            run_id=_run_id(self.job, number, input_fingerprint(new)),
            claimed_at=datetime.now(UTC),
            token=uuid.uuid4().hex,
            adapter=self.adopted() if self.job.adapt else None,
        )
        self._store.create(layout.series_files(claim.token), to_arrow(sources_table(new)))
        is_new = self._store.create(layout.series_claim(number), claim.model_dump_json().encode())
        return ClaimedRun(self._prepare(claim, new) if is_new else self._prepare(self._claim(number)), is_new)

    def question(self) -> Question:
        """What the job asks of the model that it names, as both are now.

        Raises:
            JobError: the model is not there.
        """
        return question_of(self.job, model_of(self.job))

    def adopted(self) -> int | None:
        """Which training's adapter the next run uses; None: what the job names is used.

        Raises:
            JobError: the model is not there.
        """
        return self.adapters.adopted(adapted_to(self.question()))

    def complete(self) -> Iterator[SeriesClaim]:
        """The complete runs, the newest first."""
        newest = self._newest()
        for number in range(newest.number if newest else 0, 0, -1):
            claim = self._claim(number)
            if self._is_done(claim):
                yield claim

    def begun_at(self) -> datetime | None:
        """When the first run was claimed; None before that."""
        return self._claim(1).claimed_at if self._store.exists(layout.series_claim(1)) else None

    def root_of(self, claim: SeriesClaim) -> str:
        """Where a run of the series is; its folder may have been cleared away."""
        return layout.below(self.job.output, claim.run_id)

    def _newest(self) -> SeriesClaim | None:
        number = max(map(layout.number_of, self._store.list(layout.SERIES_CLAIMS)), default=None)
        return None if number is None else self._claim(number)

    def _claim(self, number: int) -> SeriesClaim:
        return SeriesClaim.model_validate_json(self._store.read(layout.series_claim(number)))

    def _files(self, claim: SeriesClaim) -> pa.Table:
        return from_arrow(self._store.read(layout.series_files(claim.token)))

    def _is_done(self, claim: SeriesClaim) -> bool:
        if self._store.exists(layout.series_done(claim.number)):
            return True
        if not self._run_store(claim).exists(layout.COMPLETE):
            return False
        self._store.create(layout.series_done(claim.number), b"{}")
        return True

    def _run_store(self, claim: SeriesClaim) -> Store:
        return Store(self.root_of(claim))

    def _prepare(self, claim: SeriesClaim, sources: list[SourceFile] | None = None) -> Run:
        """The claimed run, opened; committed first, over ``sources`` or its list, if its claimer has not come to it.

        A run that has begun goes on with the job it was begun with, whatever the job file says by now.
        """
        store = self._run_store(claim)
        try:
            if store.exists(layout.RUN):
                return open_run(store.root)
            begun = store.read_if_exists(layout.JOB)
            job = parse_job(begun.decode(errors="replace"), store.uri(layout.JOB)) if begun else self._job_of(claim)
            if job.adapt:
                store.create(layout.ADAPTERS, self.adapters.told(claim.adapter).model_dump_json().encode())
            return prepare_run(job, sources or sources_of(self._files(claim)), claim.run_id, is_frozen=True)
        except JobError as error:
            where = self._store.uri(layout.series_claim(claim.number))
            way_out = (
                f"run {claim.run_id} must be complete before its series goes on; "
                f"to give it up, delete '{where}': its files are then new again"
            )
            raise JobError([*error.problems, way_out]) from error

    def _job_of(self, claim: SeriesClaim) -> Job:
        """The job with the adapter that the claim names."""
        if claim.adapter is None:
            return self.job
        model, place = self.job.model, self.adapters.place(claim.adapter)
        source = model if isinstance(model, ModelSource) else ModelSource(source=str(model))
        return self.job.model_copy(update={"model": source.model_copy(update={"adapter": place})})

    def _taken(self, number: int) -> pa.Table:
        """What the runs 1 to ``number`` have taken."""
        merged_up_to = max(map(layout.number_of, self._store.list(layout.SERIES_TAKEN)), default=0)
        tables = [from_arrow(self._store.read(layout.series_taken(merged_up_to)))] if merged_up_to else []
        tables += [taken_of(self._files(self._claim(n))) for n in range(merged_up_to + 1, number + 1)]
        taken = merge_taken(tables)
        if number - merged_up_to >= _LISTS_BETWEEN_MERGES:
            self._store.create(layout.series_taken(number), to_arrow(taken))
        return taken


def adapted_to(question: Question) -> AdaptedTo:
    """What an adapter must be made for to serve this question."""
    model = question.model
    assert model is not None, "a job that adapts has an engine"
    own = question.job.model.adapter if isinstance(question.job.model, ModelSource) else None
    return AdaptedTo(base_revision=model.base_revision, prompt_fingerprint=question.engine_fingerprint, own_adapter=own)


def _run_id(job: Job, number: int, fingerprint: str) -> str:
    """Such as `run_support-tickets_00007_0123abcd`; after a claim was given up, another job has another id."""
    parts = json.dumps([job.model_dump(mode="json"), fingerprint], sort_keys=True)
    return f"run_{job.name}_{number:05d}_{hashlib.sha256(parts.encode()).hexdigest()[:8]}"
