"""What the engine is asked about every document of a job: labels, prompt, token ids, calibration."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.questions.long_documents import (
    asked_with_long_documents,
    long_reading,
    overlap_tokens,
    request_texts,
    window_merge,
)
from flows.questions.question import (
    AskedOfEngine,
    Withhold,
    fingerprint_of,
    fitting_calibration,
    known_labels,
    plan_texts,
)
from pipelines.cascade.confidence import Calibration
from pipelines.documents.carried import Carrier
from pipelines.documents.duplicates import Originals
from pipelines.documents.gold import in_the_jobs_spelling, read_gold_file, with_gold
from pipelines.documents.planning import PlanLimits, plan_shards
from pipelines.documents.readers.readers import read_documents
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.documents.sources.sources import read_ahead
from pipelines.errors import JobError
from pipelines.escalation.endings import ReadAnswer, label_reader
from pipelines.escalation.journal import ChunkDraft
from pipelines.job.job import Job
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import PREDICTIONS, WINDOWED_PREDICTIONS, from_arrow
from pipelines.tasks.classification import (
    DOCUMENT_MARK,
    Label,
    PromptFrame,
    answer_schema,
    assign_codes,
    claude_system_prompt,
    local_prompt,
)
from pipelines.tasks.label_order import asked_fingerprint, reversed_labels
from pipelines.tasks.marks import defused
from pipelines.tasks.window_answers import WindowMerge
from workers.engines.catalogue import ResolvedModel
from workers.engines.in_flight import SHARDS_IN_FLIGHT
from workers.engines.label_orders import TwoOrders
from workers.engines.tokens import ModelTokenizer, TokenFrame, context_length
from workers.engines.word_tokens import TokenIds

_LEAST_DOCUMENT_TOKENS = 64


@dataclass(frozen=True)
class LabelQuestion:
    """Which of the job's labels fits a document."""

    job: Job
    model: ResolvedModel | None
    leaves_out = False

    @property
    def predictions_schema(self) -> pa.Schema:
        """Schema of the predictions; with windows, how sure the engine was of each is in it."""
        return PREDICTIONS if self.windows is None else WINDOWED_PREDICTIONS

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that is asked beside the documents, of the engine and of Claude."""
        return asked_with_long_documents(fingerprint_of(self), self.job)

    @cached_property
    def engine_fingerprint(self) -> str:
        """Hash of everything that the engine reads beside the documents; a calibration holds for one."""
        reverse = self.two_orders.reversed_frame if self.two_orders else self.frame
        return asked_fingerprint(self.job.label_order, self.frame.fingerprint, reverse.fingerprint)

    @property
    def claude_system_prompt(self) -> str:
        """What Claude is told before the document."""
        return claude_system_prompt(self.labels, self.job.instructions)

    @property
    def claude_answer_schema(self) -> dict[str, Any]:
        """JSON Schema of what Claude answers."""
        return answer_schema(self.labels)

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """Token ids of documents for the engine; none where there is no engine."""
        if self.model is None:
            return [np.array([], np.int32)] * len(texts)
        return self.tokenizer.token_arrays([defused(text, DOCUMENT_MARK) for text in texts])

    @cached_property
    def tokenizer(self) -> ModelTokenizer:
        """Tokenizer of the engine's model."""
        assert self.model is not None
        return ModelTokenizer(self.model)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The job's labels with their codes.

        Raises:
            JobError: more labels than the model's tokens can tell apart.
        """
        if self.model is None:
            return tuple(Label("", name, meaning) for name, meaning in self.job.labels.items())
        return assign_codes(self.job.labels, self.tokenizer.is_single_token, self.model.name)

    @cached_property
    def prompt(self) -> PromptFrame:
        """The engine's prompt around a document."""
        return local_prompt(self.labels, self.job.instructions)

    @cached_property
    def frame(self) -> TokenFrame:
        """The same in token ids, chat template included."""
        return self.tokenizer.encode_frame(self.prompt)

    @cached_property
    def reversed_prompt(self) -> PromptFrame:
        """The engine's prompt with the labels from the last to the first."""
        return local_prompt(reversed_labels(self.labels), self.job.instructions)

    @cached_property
    def two_orders(self) -> TwoOrders | None:
        """What a scorer needs to know where the labels are not only read as given."""
        if self.job.label_order == "given":
            return None
        return TwoOrders(self.job.label_order, self.tokenizer.encode_frame(self.reversed_prompt))

    @cached_property
    def document_tokens(self) -> int:
        """How many tokens of a document fit beside the prompt and the one token of the answer.

        Raises:
            JobError: instructions and labels leave no room for a document, or windows share too much of theirs.
        """
        if self.model is None:
            return 1
        context = context_length(self.model)
        # Reversed, the same labels may be cut into more tokens.
        frames = [self.frame, self.two_orders.reversed_frame] if self.two_orders else [self.frame]
        prompt_tokens = max(map(len, frames))
        room = context - prompt_tokens - 1
        if room < _LEAST_DOCUMENT_TOKENS:
            raise JobError(
                [
                    f"labels: instructions and labels take {prompt_tokens} of the model's {context} tokens, "
                    "which leaves too little for a document; shorten them or raise engine.max_model_len"
                ]
            )
        if self.job.long_documents:
            overlap_tokens(self.job.long_documents, room)
        return room

    @cached_property
    def calibration(self) -> Calibration | None:
        """The model's calibration, if it was made for exactly this prompt and these labels."""
        return fitting_calibration(self.model, lambda: self.engine_fingerprint, tuple(self.job.labels))

    @cached_property
    def asked_of_engine(self) -> AskedOfEngine:
        """What the scorers put to the engine: each document, and the labels after it."""
        return AskedOfEngine(self.frame, two_orders=self.two_orders, windows=self.windows)

    @cached_property
    def windows(self) -> WindowMerge | None:
        """How the answers to a long document's windows become one; None where none is read in windows."""
        return window_merge(self.job)

    def documents(self, sources: list[SourceFile], columns: RowColumns, own: OwnPlaces) -> Iterator[Document]:
        """Documents of files, with their labels where they are known."""
        limit, evaluation = self.job.limits.max_document_bytes, self.job.evaluation
        documents: Iterable[Document] = itertools.chain.from_iterable(
            read_documents(source, columns, limit) for source in read_ahead(sources)
        )
        if evaluation and evaluation.gold_file:
            documents = with_gold(documents, read_gold_file(evaluation.gold_file, self.job.labels))
        else:
            documents = in_the_jobs_spelling(documents, self.job.labels)
        yield from documents

    def shards(
        self,
        documents: Iterable[Document],
        shard_tokens: int,
        withhold: Withhold,
        carrier: Carrier | None = None,
        planned: Iterable[pa.Table] = (),
    ) -> Iterator[pa.Table]:
        """Each document is one item, cut to what the model can read, or read as `long_documents` says."""
        limits = PlanLimits(self.document_tokens, shard_tokens)
        originals = Originals() if self.job.duplicates == "once" else None
        section, long = self.job.long_documents, None
        if section is not None:
            long = long_reading(section, self.document_tokens, self.tokenizer.encode_with_places)
        return plan_shards(documents, self.encode, limits, withhold, carrier, originals, long, planned)

    def shards_in_flight(self, shards: int, document_tokens: int) -> int:
        """A label is one token: few shards keep an engine busy."""
        return SHARDS_IN_FLIGHT

    def request_texts(
        self, store: Store, shard: int, item_ids: pa.Array[Any] | None = None, room_bytes: int | None = None
    ) -> dict[str, str]:
        """Texts of the documents that are sent to Claude, by item id."""
        if room_bytes is None or self.job.long_documents is None:
            return plan_texts(store, shard, item_ids)
        return request_texts(store, shard, item_ids, room_bytes)

    def answer_readers(self, store: Store, draft: ChunkDraft) -> Callable[[str], ReadAnswer]:
        """One label, spelled as in the job or nearly so."""
        read = label_reader(tuple(self.job.labels))
        return lambda _item_id: read

    def known_answers(
        self, store: Store, shards: int, rooms_bytes: Sequence[int] = ()
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The gold label of each document that has one, to all of its text and to what a tier may be shown of it."""
        if not self.job.long_documents:
            yield from known_labels(store, shards)
            return
        for shard in range(shards):
            plan = from_arrow(store.read(layout.plan_part(shard)), columns=["item_id", "text", "gold_label"])
            known = plan.filter(pc.and_(pc.is_valid(plan["text"]), pc.is_valid(plan["gold_label"])))
            item_ids = known["item_id"].combine_chunks()
            shown = [self.request_texts(store, shard, item_ids, room) for room in rooms_bytes]
            for row in known.to_pylist():
                for text in {str(row["text"]), *(texts[row["item_id"]] for texts in shown)}:
                    yield text, {"label": row["gold_label"]}
