"""Several questions about each document: one plan for all, one prompt for each, which begin alike.

The document stands first and the question after it, so that an engine finds the document in its cache for all
questions but the first. Each question is otherwise a `LabelQuestion` of its own, over a store of its own.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.questions.classification import LabelQuestion
from flows.questions.question import AskedOfEngine, Withhold, known_labels
from pipelines.cascade.confidence import Calibration
from pipelines.documents.carried import Carrier
from pipelines.documents.gold import gold_in_column, is_gold_in_column, read_gold_file
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.documents.sources.sources import read_ahead
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.question_jobs import NO, YES, AskedJob, asked_jobs
from pipelines.store.objects import Store
from pipelines.store.schemas import GOLD_LABELS
from pipelines.tasks.classification import PromptFrame, question_prompt
from pipelines.tasks.label_names import LabelNames
from workers.engines.questions import QuestionFrame
from workers.engines.tokens import ModelTokenizer


@dataclass(frozen=True)
class OneOfSeveral(LabelQuestion):
    """One of the questions; its documents are planned for all of them."""

    key: str = field(kw_only=True)
    siblings: SeveralQuestions = field(kw_only=True, repr=False, compare=False)

    @property
    def tokenizer(self) -> ModelTokenizer:
        """One for all questions: reading a model's files takes a second."""
        return self.siblings.tokenizer

    @cached_property
    def prompt(self) -> PromptFrame:
        """The engine's prompt around a document."""
        return question_prompt(self.labels, self.job.instructions)

    def known_answers(
        self, store: Store, shards: int, rooms_bytes: Sequence[int] = ()
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The gold label of each document that has one, to this question."""
        return known_labels(store, shards, self.key)


@dataclass(frozen=True)
class SeveralQuestions(LabelQuestion):
    """All questions of a job, as planning and scoring see them: one plan, one pass of the engines."""

    @cached_property
    def asked(self) -> tuple[AskedJob, ...]:
        """The jobs that this one comes to."""
        return tuple(asked_jobs(self.job))

    @cached_property
    def each(self) -> tuple[OneOfSeveral, ...]:
        """The questions, in their order."""
        return tuple(OneOfSeveral(asked.job, self.model, key=asked.key, siblings=self) for asked in self.asked)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that is asked beside the documents."""
        return _hash(f"{each.key}:{each.fingerprint}" for each in self.each)

    @cached_property
    def engine_fingerprint(self) -> str:
        """Hash of everything that the engine reads beside the documents."""
        return _hash(f"{each.key}:{each.engine_fingerprint}" for each in self.each)

    @cached_property
    def document_tokens(self) -> int:
        """How many tokens of a document fit beside the longest of the questions.

        Raises:
            JobError: one leaves no room for a document.
        """
        return min(each.document_tokens for each in self.each)

    @cached_property
    def calibration(self) -> Calibration | None:
        """None: each question would have its own."""
        return None

    @cached_property
    def asked_of_engine(self) -> AskedOfEngine:
        """What the scorers put to the engine: each document, and one question after the other behind it."""
        frames = tuple(QuestionFrame(each.key, each.frame) for each in self.each)
        return AskedOfEngine(frames[0].frame, questions=frames)

    def documents(self, sources: list[SourceFile], columns: RowColumns, own: OwnPlaces) -> Iterator[Document]:
        """Documents of files; what is known of them is put into the plan by `shards`."""
        limit = self.job.limits.max_document_bytes
        yield from itertools.chain.from_iterable(
            read_documents(source, columns, limit) for source in read_ahead(sources)
        )

    def shards(
        self,
        documents: Iterable[Document],
        shard_tokens: int,
        withhold: Withhold,
        carrier: Carrier | None = None,
        planned: Iterable[pa.Table] = (),
    ) -> Iterator[pa.Table]:
        """Each document is one item, with the known answers to every question beside it."""
        readers = {asked.key: gold_reader(asked) for asked in self.asked}
        kind = pa.struct([pa.field(key, pa.string()) for key in readers])
        known: dict[str, dict[str, str | None]] = {}  # by document, of those that are read and not in a shard yet

        def noted() -> Iterator[Document]:
            for document in documents:
                known.setdefault(document.document_id, {key: read(document) for key, read in readers.items()})
                yield document

        for table in super().shards(noted(), shard_tokens, withhold, carrier, planned):
            # The second document of an id is a failure of its own, of which nothing is known.
            answers = [known.pop(str(document_id), {}) for document_id in table["document_id"].to_pylist()]
            yield table.append_column(GOLD_LABELS, pa.array(answers, kind))


def refuse_several(job: Job, path: Path) -> None:
    """Refuse to estimate a job that asks several questions.

    Raises:
        JobError: it does.
    """
    if job.asks_several:
        raise JobError(
            [
                "questions: a job with several questions, or choose: any, is not estimated ahead; `pipeline submit "
                f"{path} --limit 500` runs the first 500 documents, and `pipeline cost` says what they took"
            ]
        )


def gold_reader(asked: AskedJob) -> Callable[[Document], str | None]:
    """Finds the known answer of a document to one question; where nothing is known, nothing."""
    evaluation, labels = asked.job.evaluation, asked.job.labels
    if evaluation is None:
        return lambda document: None
    if evaluation.gold_file:
        gold = read_gold_file(evaluation.gold_file, labels)
        return lambda document: gold.get(document.document_id)
    column, label, names = str(evaluation.gold_column), asked.label, LabelNames(labels)
    if label is None:
        return lambda document: gold_in_column(document, column, names)
    answers = {True: YES, False: NO, None: None}
    return lambda document: answers[is_gold_in_column(document, column, label)]


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]
