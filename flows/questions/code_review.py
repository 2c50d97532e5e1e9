"""What the engine and Claude are asked in a code review: the prompts of both passes, and what fits beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.questions.question import AskedOfEngine, Withhold, fingerprint_of, fitting_calibration, plan_texts
from pipelines.cascade.confidence import Calibration
from pipelines.documents.carried import Carrier
from pipelines.documents.code.cutting.pieces import WHOLE_DOCUMENTS, cut_into_pieces
from pipelines.documents.code.inputs import read_code, with_verdicts
from pipelines.documents.code.records import LeftOut
from pipelines.documents.code.shown import LineMap
from pipelines.documents.planning import PlanLimits, plan_shards
from pipelines.documents.records import Document, RowColumns, SourceFile
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.errors import JobError
from pipelines.escalation.endings import ReadAnswer
from pipelines.escalation.journal import ChunkDraft
from pipelines.escalation.review_answers import review_reader
from pipelines.job.job import Job
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import FINDING, REVIEWS, from_arrow
from pipelines.tasks.classification import Label, PromptFrame, assign_codes
from pipelines.tasks.code_review.answers import answer_schema
from pipelines.tasks.code_review.categories import categories
from pipelines.tasks.code_review.findings import Finding
from pipelines.tasks.code_review.labelled_faults import Fault, read_labelled_faults
from pipelines.tasks.code_review.prompts import (
    CODE_MARK,
    claim_block,
    claude_system_prompt,
    claude_text,
    review_prompt,
    verification_prompt,
)
from pipelines.tasks.code_review.verification import CLAIM_LABELS
from pipelines.tasks.marks import defused
from workers.engines.catalogue import ResolvedModel
from workers.engines.in_flight import MAX_SHARDS_IN_FLIGHT, SHARDS_IN_FLIGHT, WRITING_TOKENS_IN_FLIGHT
from workers.engines.reviews import ReviewSettings
from workers.engines.tokens import ModelTokenizer, TokenFrame, context_length
from workers.engines.word_tokens import TokenIds

_LEAST_PIECE_TOKENS = 64
_MOST_OUTPUT_TOKENS = 2_048


@dataclass(frozen=True)
class ReviewQuestion:
    """Which faults a change has, and how sure each is: the engine writes findings, then is asked about each."""

    job: Job
    model: ResolvedModel | None
    leaves_out = True
    predictions_schema = REVIEWS

    @cached_property
    def engine_fingerprint(self) -> str:
        """Hash of everything that the engine reads beside code and claims, in both passes."""
        asked = [self.review_frame.fingerprint, self.frame.fingerprint, claim_block("")]
        return hashlib.sha256("\x00".join(asked).encode()).hexdigest()[:16]

    @property
    def claude_system_prompt(self) -> str:
        """What Claude is told before code and candidates."""
        return claude_system_prompt(self.job.instructions)

    @cached_property
    def fingerprint(self) -> str:
        """The same as of a classification, and what stands around code and candidates."""
        return hashlib.sha256(f"{fingerprint_of(self)}\x00{claude_text('', ())}".encode()).hexdigest()[:16]

    @property
    def claude_answer_schema(self) -> dict[str, Any]:
        """JSON Schema of Claude's list of findings."""
        return answer_schema()

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """Token ids of code for the engine; none where there is no engine."""
        if self.model is None:
            return [np.array([], np.int32)] * len(texts)
        return self.tokenizer.token_arrays([defused(text, CODE_MARK) for text in texts])

    @cached_property
    def tokenizer(self) -> ModelTokenizer:
        """Tokenizer of the engine's model."""
        assert self.model is not None
        return ModelTokenizer(self.model)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The verdicts; nobody is asked for them, they follow from the findings."""
        return tuple(Label("", name, meaning) for name, meaning in self.job.labels.items())

    @cached_property
    def prompt(self) -> PromptFrame:
        """The engine's prompt around code and claim."""
        return verification_prompt(self.job.instructions, self.claim_labels)

    @cached_property
    def claim_labels(self) -> tuple[Label, ...]:
        """True and false with their codes."""
        assert self.model is not None
        return assign_codes(CLAIM_LABELS, self.tokenizer.is_single_token, self.model.name)

    @cached_property
    def frame(self) -> TokenFrame:
        """The same in token ids, chat template included."""
        return self.tokenizer.encode_frame(self.prompt)

    @cached_property
    def review_frame(self) -> TokenFrame:
        """The engine's prompt around code alone, in token ids."""
        return self.tokenizer.encode_frame(review_prompt(self.job.instructions))

    @cached_property
    def review_settings(self) -> ReviewSettings:
        """What a scorer needs to know of the question."""
        assert self.model is not None
        if self.review_frame.prefix != self.frame.prefix:
            raise JobError(
                [f"model: the chat template of '{self.model.name}' looks ahead; both passes must begin alike"]
            )
        return ReviewSettings(
            review_suffix=self.review_frame.suffix,
            frame=self.frame,
            max_output_tokens=self._output_tokens,
            context_tokens=self.context_tokens,
            tokenizer_json=self.tokenizer_json,
        )

    @cached_property
    def _output_tokens(self) -> int:
        assert self.model is not None
        return self.job.reviews.max_output_tokens or min(self.context_tokens // 4, _MOST_OUTPUT_TOKENS)

    @cached_property
    def context_tokens(self) -> int:
        """How many tokens the model reads and writes at once."""
        assert self.model is not None
        return context_length(self.model)

    @property
    def tokenizer_json(self) -> str | None:
        """What scorers make tokens with; None where a server makes them."""
        return self.tokenizer.json

    @cached_property
    def document_tokens(self) -> int:
        """How many tokens of code fit beside the longer prompt and its answer: the size of a piece.

        Raises:
            JobError: they leave no room for code.
        """
        if self.model is None:
            return 1
        context = self.context_tokens
        room = context - len(self.review_frame) - self._output_tokens
        if room < _LEAST_PIECE_TOKENS:
            raise JobError(
                [
                    f"review: the prompt takes {len(self.review_frame)} and the answer {self._output_tokens} of the "
                    f"model's {context} tokens, which leaves too little for code; shorten instructions, lower "
                    "review.max_output_tokens or raise engine.max_model_len"
                ]
            )
        return room

    @cached_property
    def calibration(self) -> Calibration | None:
        """The model's calibration of claims, if it was made for exactly this prompt."""
        return fitting_calibration(self.model, lambda: self.frame.fingerprint, tuple(CLAIM_LABELS))

    @cached_property
    def asked_of_engine(self) -> AskedOfEngine:
        """A review, and then whether each of its claims is true."""
        return AskedOfEngine(self.frame, review=self.review_settings)

    def documents(self, sources: list[SourceFile], columns: RowColumns, own: OwnPlaces) -> Iterator[Document | LeftOut]:
        """Changes or files of code, with their verdicts where their faults are known."""
        job = self.job
        code: Iterable[Document | LeftOut] = read_code(
            job.input, sources, job.reviews, columns, job.limits.max_document_bytes, own
        )
        if job.evaluation and job.evaluation.faults_file:
            code = with_verdicts(code, read_labelled_faults(job.evaluation.faults_file))
        yield from code

    def shards(
        self,
        documents: Iterable[Document],
        shard_tokens: int,
        withhold: Withhold,
        carrier: Carrier | None = None,
        planned: Iterable[pa.Table] = (),
    ) -> Iterator[pa.Table]:
        """Each document is one item, in as many pieces as the model needs to read all of it."""
        tables = self.whole_documents(documents, shard_tokens, withhold, carrier, planned)
        return (cut_into_pieces(table, self.encode, self.document_tokens) for table in tables)

    def whole_documents(
        self,
        documents: Iterable[Document],
        shard_tokens: int,
        withhold: Withhold,
        carrier: Carrier | None,
        planned: Iterable[pa.Table],
    ) -> Iterator[pa.Table]:
        """The same before anything is cut."""
        limits = PlanLimits(WHOLE_DOCUMENTS, shard_tokens, self._output_tokens if self.model else 0)
        return plan_shards(documents, self.encode, limits, withhold, carrier, planned=planned)

    def shards_in_flight(self, shards: int, document_tokens: int) -> int:
        """An answer is written over many steps: more items are needed to keep an engine busy."""
        wanted = WRITING_TOKENS_IN_FLIGHT * shards // max(document_tokens, 1)
        return min(max(wanted, SHARDS_IN_FLIGHT), MAX_SHARDS_IN_FLIGHT)

    def request_texts(
        self, store: Store, shard: int, item_ids: pa.Array[Any] | None = None, room_bytes: int | None = None
    ) -> dict[str, str]:
        """The code, and the engine's findings as candidates; of any length, as no such job has `long_documents`."""
        candidates = _candidates(store, shard) if self.model else {}
        texts = plan_texts(store, shard, item_ids)
        return {item_id: claude_text(text, candidates.get(item_id, ())) for item_id, text in texts.items()}

    def answer_readers(self, store: Store, draft: ChunkDraft) -> Callable[[str], ReadAnswer]:
        """A list of findings, each at a line that is shown."""
        texts: dict[str, str] = {}
        for shard in draft.shards:
            texts.update(plan_texts(store, shard, pa.array(draft.item_ids)))
        return lambda item_id: review_reader(LineMap.of(texts[item_id]))

    def known_answers(
        self, store: Store, shards: int, rooms_bytes: Sequence[int] = ()
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the known faults of each document come to as a list of findings."""
        assert self.job.evaluation and self.job.evaluation.faults_file
        labelled = read_labelled_faults(self.job.evaluation.faults_file)
        for shard in range(shards):
            plan = from_arrow(store.read(layout.plan_part(shard)), columns=["item_id", "document_id", "gold_label"])
            texts = self.request_texts(store, shard)
            for row in plan.filter(pc.is_valid(plan["gold_label"])).to_pylist():
                if row["item_id"] in texts:
                    findings = [_as_finding(fault) for fault in labelled.of_document(row["document_id"])]
                    yield texts[row["item_id"]], {"findings": findings}


def _candidates(store: Store, shard: int) -> dict[str, list[Finding]]:
    names = [field.name for field in FINDING]
    rows = predictions_of(read_scored_part(store, shard)).select(["item_id", "findings"]).to_pylist()
    return {
        row["item_id"]: [Finding(**{name: found[name] for name in names}) for found in row["findings"]] for row in rows
    }


def _as_finding(fault: Fault) -> dict[str, Any]:
    return {
        "path": fault.path,
        "line": fault.line,
        "end_line": fault.end_line,
        "category": fault.category,
        "severity": fault.severity,
        "message": categories()[fault.category].description,
        "suggestion": categories()[fault.category].advice,
    }
