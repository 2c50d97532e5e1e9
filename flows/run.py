"""A run: its record in the store, and everything derived from it that the stages share.

`prepare_run` turns a job into a committed record; `open_run` gets all the rest back from that record alone, so that
a flow started by anyone, anywhere, needs nothing but the run's URI.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import pyarrow as pa
import yaml

from flows.questions.over_http import model_of
from flows.questions.question import Question
from flows.questions.registry import question_of
from flows.questions.several import SeveralQuestions
from flows.run_record import AskedIn, RunRecord, derive_run_id, new_record
from flows.touched_input import refuse_touched
from pipelines.cascade.decisions import Rule
from pipelines.committed_decisions import CommittedDecisions
from pipelines.documents.code.inputs import is_pinned, list_code
from pipelines.documents.records import Listing, SourceFile
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.documents.sources.since_last import sources_of, sources_table
from pipelines.documents.sources.sources import list_input as list_places
from pipelines.errors import JobError, RunNotFoundError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job
from pipelines.job.question_jobs import AskedJob
from pipelines.job.sections import Quality
from pipelines.results import RunFacts
from pipelines.scored_parts import KeptParts
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.question_store import QuestionStore
from pipelines.store.runs import open_store
from pipelines.store.schemas import from_arrow, to_arrow
from workers.endpoint.served import Served
from workers.engines.catalogue import ResolvedModel


@dataclass(frozen=True)
class Run:
    """A run and what its stages share."""

    job: Job
    record: RunRecord
    store: Store
    question: Question

    @cached_property
    def questions(self) -> tuple[Run, ...]:
        """The runs of the questions, where it asks several: over its plan, each with a store of its own."""
        if not isinstance(self.question, SeveralQuestions):
            return ()
        return tuple(
            Run(asked.job, self._record_of(asked, question), QuestionStore(self.store, asked.key), question)
            for asked, question in zip(self.question.asked, self.question.each, strict=True)
        )

    def _record_of(self, asked: AskedJob, question: Question) -> RunRecord:
        asked_in = AskedIn(run_id=self.run_id, question=asked.question, label=asked.label)
        return self.record.model_copy(
            update={
                "run_id": f"{self.run_id}.{asked.key}",
                "prompt_fingerprint": question.fingerprint,
                "questions": None,
                "asked_in": asked_in,
            }
        )

    @property
    def has_engine(self) -> bool:
        """Whether documents are scored at all, or go to Claude as they are."""
        return self.question.model is not None

    @property
    def model(self) -> ResolvedModel:
        """Model that answers first; only where there is one, see `has_engine`."""
        assert self.question.model is not None
        return self.question.model

    @property
    def run_id(self) -> str:
        """Id of the run, such as `run_support-tickets_0123456789ab`."""
        return self.record.run_id

    @cached_property
    def decisions(self) -> CommittedDecisions:
        """What is decided about each scored item, once it is."""
        return CommittedDecisions(self.store)

    @cached_property
    def parts(self) -> KeptParts:
        """What the engine said of each shard, on its way from deciding to publishing."""
        if isinstance(self.store, QuestionStore):  # one of up to hundreds, which wait for Claude side by side
            return KeptParts(self.store, most_bytes=0)
        return KeptParts(self.store)

    @cached_property
    def carried(self) -> pa.Schema:
        """The columns of the input that go to the results, with their types; told when the plan was begun."""
        told = self.store.read_if_exists(layout.CARRIED)
        return pa.schema([]) if told is None else from_arrow(told).schema

    @property
    def rule(self) -> Rule | None:
        """What decides each item by itself; None where a target or a budget decides over the whole run."""
        if isinstance(self.job.quality, Quality) and self.job.quality.raw_threshold is not None:
            return Rule(raw_threshold=self.job.quality.raw_threshold)
        return Rule(raw_threshold=0.0) if self.job.dial == "off" else None

    @property
    def facts(self) -> RunFacts:
        """What every result row has in common."""
        asked_in = self.record.asked_in
        return RunFacts(
            run_id=asked_in.run_id if asked_in else self.run_id,
            task=self.job.task,
            labels=tuple(self.job.labels),
            model=self.record.model,
            model_revision=self.record.model_revision,
            device_hour_usd=self.job.compute.device_hour_usd,
            calibration=self.question.calibration,
            raw_threshold=self.rule.raw_threshold if self.rule else None,
            is_escalating=self.job.escalation is not None,
            first_tier_price=self.job.model.price if isinstance(self.job.model, ModelEndpoint) else None,
            question=asked_in.question if asked_in else None,
            label=asked_in.label if asked_in else None,
        )


def prepare_run(job: Job, sources: list[SourceFile], run_id: str | None = None, *, is_frozen: bool = False) -> Run:
    """Commit what is asked; the same job over the same input is the same run, and is continued.

    Args:
        job: what is asked.
        sources: the files of the input.
        run_id: by default, derived from the job and its input.
        is_frozen: the run reads exactly these files, whatever else is there when it plans.

    Raises:
        JobError: the model is not there, ``run_id`` belongs to another job or is no name of a folder, or only the
            files' times are new.
        StoreError: the output cannot be written.
    """
    if run_id is not None:
        layout.check_run_id(run_id)
    question = question_of(job, model_of(job, _found_before(job, run_id)))
    record = new_record(question, sources)
    record = record.model_copy(update={"run_id": run_id or derive_run_id(job, record)})
    for key in record.questions or ():
        layout.check_run_id(f"{record.run_id}.{key}")  # before anything of the run is there
    if run_id is None and record.input_outline is not None:
        asked = [job.model_dump(mode="json"), record.model_revision, record.prompt_fingerprint, record.input_outline]
        refuse_touched(job.output, asked, record.run_id)
    store = Store(layout.below(job.output, record.run_id))
    if is_frozen or (job.review and is_pinned(job.review)):
        store.create(layout.INPUT, to_arrow(sources_table(sources)))
    store.create(layout.JOB, _job_yaml(job))
    store.create(layout.RUN, record.model_dump_json(indent=2).encode())
    committed = RunRecord.of(store)
    if not store.exists(layout.COMPLETE):
        committed.check_format()
    _refuse_other_job(store, job, record, committed)
    _remember(record.run_id, store.root)
    run = Run(job, committed, store, question)
    begin_questions(run)
    return run


def refuse_question(run: Run) -> None:
    """Refuse to go on with one of several questions alone: their run does, in one pass.

    Raises:
        JobError: it is one.
    """
    if run.record.asked_in:
        whole = run.record.asked_in.run_id
        raise JobError([f"run: {run.run_id} is a question of run {whole}, and goes on with it: name that one"])


def begin_questions(run: Run) -> None:
    """Commit the records of the questions' runs, where the run asks several; the same whenever it is done."""
    for each in run.questions:
        each.store.create(layout.JOB, _job_yaml(each.job))
        each.store.create(layout.RUN, each.record.model_dump_json(indent=2).encode())


def _found_before(job: Job, run_id: str | None) -> Served | None:
    """What the probe of a run that is begun already has found; its identity must not depend on a second one."""
    record = Store(layout.below(job.output, run_id)).read_if_exists(layout.RUN) if run_id is not None else None
    return None if record is None else RunRecord.model_validate_json(record).first_tier


def open_run(run: str) -> Run:
    """Open a committed run by id or URI.

    Raises:
        RunNotFoundError: there is none.
        JobError: its model is gone, or what it asks is no longer what it was begun with: model, prompt, format.
    """
    store = open_store(run)
    if isinstance(store, QuestionStore):
        return _open_question(store)
    record = RunRecord.of(store)
    layout.check_run_id(record.run_id)  # names folders of this machine; the store may be anyone's
    goes_on = not store.exists(layout.COMPLETE)
    if goes_on:
        record.check_format()
    job = _committed_job(store, record)
    question = question_of(job, model_of(job, record.first_tier))
    if goes_on:
        record.check_question(question)
    return Run(job, record, store, question)


def _open_question(store: QuestionStore) -> Run:
    found = [each for each in open_run(store.run.root).questions if each.store.root == store.root]
    if not found:
        raise RunNotFoundError(f"the run at '{store.run.root}' asks no question '{store.question}'")
    return found[0]


def _committed_job(store: Store, record: RunRecord) -> Job:
    try:
        return parse_job(store.read(layout.JOB).decode(errors="replace"), store.uri(layout.JOB))
    except JobError as error:
        raise JobError(
            [
                f"run: {store.uri(layout.JOB)} is a job that this version ({version('sluice')}) refuses "
                f"({error.problems[0]}); let the version that began run {record.run_id} finish it, or mend the "
                "job file and start a new run"
            ]
        ) from error


def run_sources(run: Run) -> list[SourceFile]:
    """The files that the run reads.

    Raises:
        JobError: the input is no longer what the run was started with.
    """
    return run_listing(run).sources


def run_listing(run: Run) -> Listing:
    """The same, with what is left out; of files that were kept as a list, that list is all there is.

    Raises:
        JobError: the input is no longer what the run was started with.
    """
    frozen = run.store.read_if_exists(layout.INPUT)
    if frozen is not None:
        found = Listing(sources_of(from_arrow(frozen)), [])
        # By number and size: a kept file that has changed since costs its own row, not the run.
        is_the_runs = run.record.is_as_large_as(found.sources)
    else:
        found = _list(run.job)
        is_the_runs = run.record.has_input(found.sources)
    if not is_the_runs:
        raise JobError([f"input: '{run.job.input}' has changed since run {run.run_id} was started; start a new run"])
    return found


def list_input(job: Job) -> list[SourceFile]:
    """The files of a job's input as they are now.

    Raises:
        NoInputError: nothing is there.
        JobError: it cannot be listed.
        StoreError: S3 cannot be reached.
    """
    return _list(job).sources


def _list(job: Job) -> Listing:
    return list_code(job.input, job.review, own_places(job)) if job.review else list_places(job.input, own_places(job))


def own_places(job: Job) -> OwnPlaces:
    """Where runs of the job write: none of it is their input."""
    return OwnPlaces(job.output, str(settings().state_dir))


def _job_yaml(job: Job) -> bytes:
    return yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode()


def _refuse_other_job(store: Store, job: Job, record: RunRecord, committed: RunRecord) -> None:
    conflict = committed.conflict_with(record)
    if conflict is None and store.read(layout.JOB) != _job_yaml(job):
        conflict = "job"
    if conflict:
        raise JobError(
            [
                f"run id '{record.run_id}' is taken by a run with another {conflict}; "
                "choose another --run-id or leave it out"
            ]
        )


def _remember(run_id: str, root: str) -> None:
    """So that `pipeline status RUN` finds a run by its id alone."""
    folder = settings().state_dir / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run_id).write_text(root, encoding="utf-8")
