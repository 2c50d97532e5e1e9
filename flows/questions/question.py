"""What a task is to the rest of a run: what it reads, what engine and Claude are asked, how answers are read.

A task is one module beside this one and one line in `question_of`. Everything that the stages do, they do for all
tasks alike; where tasks differ, they ask the question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.cascade.confidence import Calibration
from pipelines.documents.carried import Carrier
from pipelines.documents.code.records import LeftOut
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.escalation.endings import ReadAnswer
from pipelines.escalation.journal import ChunkDraft
from pipelines.job.job import Job
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import GOLD_LABELS, from_arrow
from pipelines.tasks.window_answers import WindowMerge
from workers.engines.catalogue import ResolvedModel
from workers.engines.label_orders import TwoOrders
from workers.engines.questions import QuestionFrame
from workers.engines.reviews import ReviewSettings
from workers.engines.tokens import TokenFrame

Withhold = Callable[[Document], str | None]


@dataclass(frozen=True)
class AskedOfEngine:
    """What a scorer needs to know of the question beside the documents."""

    frame: TokenFrame
    review: ReviewSettings | None = None  # a text is written first, which the frame is then asked about
    two_orders: TwoOrders | None = None  # the labels are not only read as given
    windows: WindowMerge | None = None  # long documents are read in windows, whose answers are made one
    questions: tuple[QuestionFrame, ...] = ()  # several, whose prompts begin as `frame` does


class Question(Protocol):
    """Derived from a job and its model alone; the same on every machine."""

    @property
    def job(self) -> Job:
        """Job whose question this is."""

    @property
    def model(self) -> ResolvedModel | None:
        """Of the engine; None: there is none, every document goes to Claude."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that is asked beside the documents, of the engine and of Claude."""

    @property
    def engine_fingerprint(self) -> str:
        """Hash of everything that the engine reads beside the documents; a calibration holds for one."""

    @property
    def calibration(self) -> Calibration | None:
        """The model's calibration, if it was made for exactly this question."""

    @property
    def document_tokens(self) -> int:
        """How many tokens of a document fit beside the prompt and the answer: the rest is cut, or another piece.

        Raises:
            JobError: the prompt leaves no room for a document.
        """

    @property
    def asked_of_engine(self) -> AskedOfEngine:
        """What the scorers put to the engine."""

    @property
    def predictions_schema(self) -> pa.Schema:
        """Schema of the predictions that a scorer commits."""

    @property
    def claude_system_prompt(self) -> str:
        """What Claude is told before the document."""

    @property
    def claude_answer_schema(self) -> dict[str, Any]:
        """JSON Schema of what Claude answers."""

    @property
    def leaves_out(self) -> bool:
        """Whether part of the input may be no document at all, so that what is left out is always listed."""

    def documents(self, sources: list[SourceFile], columns: RowColumns, own: OwnPlaces) -> Iterable[Document | LeftOut]:
        """What is asked about, with the answers that are known of it; ``own`` are places that are no input."""

    def shards(
        self,
        documents: Iterable[Document],
        shard_tokens: int,
        withhold: Withhold,
        carrier: Carrier | None = None,
        planned: Iterable[pa.Table] = (),
    ) -> Iterator[pa.Table]:
        """The documents as parts of the plan, schema `PLAN`, with token ids for the engine, after those ``planned``."""

    def shards_in_flight(self, shards: int, document_tokens: int) -> int:
        """How many shards an engine works on at a time, of a plan of so many with so many tokens in all."""

    def request_texts(
        self, store: Store, shard: int, item_ids: pa.Array[Any] | None = None, room_bytes: int | None = None
    ) -> dict[str, str]:
        """What Claude is sent about each item of a shard, or about some; the same whenever it is asked for.

        Of a job with ``long_documents``, a text over ``room_bytes`` is sent in part.
        """

    def answer_readers(self, store: Store, draft: ChunkDraft) -> Callable[[str], ReadAnswer]:
        """How Claude's answer about each item of a message batch is read."""

    def known_answers(
        self, store: Store, shards: int, rooms_bytes: Sequence[int] = ()
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """What a simulation answers to each text that is sent, as far as it is known; rooms are those of the tiers."""


def fingerprint_of(question: Question) -> str:
    """Hash of what engine and Claude are told."""
    asked = [question.engine_fingerprint] if question.model else []
    if question.job.escalation:
        asked += [question.claude_system_prompt, json.dumps(question.claude_answer_schema, sort_keys=True)]
    return hashlib.sha256("\x00".join(asked).encode()).hexdigest()[:16]


def is_calibration_refused(question: Question) -> bool:
    """Whether the model has a calibration that is not for this question."""
    return question.model is not None and question.model.calibration is not None and question.calibration is None


def fitting_calibration(
    model: ResolvedModel | None, prompt_fingerprint: Callable[[], str], labels: Sequence[str]
) -> Calibration | None:
    """The model's calibration, if it was made for exactly this prompt and these labels."""
    calibration = model.calibration if model else None
    if calibration is None:
        return None
    is_fitting = calibration.fits(prompt_fingerprint=prompt_fingerprint(), labels=tuple(labels))
    return calibration if is_fitting else None


def plan_texts(store: Store, shard: int, item_ids: pa.Array[Any] | None) -> dict[str, str]:
    """The text of each item of a shard that has one, or of some of them."""
    plan = from_arrow(store.read(layout.plan_part(shard)), columns=["item_id", "text"])
    plan = plan.filter(pc.is_valid(plan["text"]))
    if item_ids is not None:
        plan = plan.filter(pc.is_in(plan["item_id"], value_set=item_ids))
    return {str(row["item_id"]): str(row["text"]) for row in plan.to_pylist()}


def known_labels(store: Store, shards: int, question: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The text and the gold label of each document that has one; with ``question``, to that one of several."""
    for shard in range(shards):
        gold = "gold_label" if question is None else GOLD_LABELS
        plan = from_arrow(store.read(layout.plan_part(shard)), columns=["text", gold])
        labels = plan[gold] if question is None else pc.struct_field(plan[gold], question)
        known = pa.table({"text": plan["text"], "label": labels})
        for row in known.filter(pc.and_(pc.is_valid(known["text"]), pc.is_valid(known["label"]))).to_pylist():
            yield str(row["text"]), {"label": row["label"]}
