"""What the engine is asked about every document of a job: labels, prompt, token ids, calibration."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.cascade.confidence import Calibration
from pipelines.errors import JobError
from pipelines.job.job import Job
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
from workers.engines.catalogue import ResolvedModel
from workers.engines.engine import MAX_LABELS
from workers.engines.label_orders import TwoOrders
from workers.engines.tokens import ModelTokenizer, TokenFrame, context_length

_LEAST_DOCUMENT_TOKENS = 64


@dataclass(frozen=True)
class Question:
    """Derived from a job and its model alone; the same on every machine."""

    job: Job
    model: ResolvedModel | None  # None: there is no engine, every document goes to Claude

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that is asked beside the documents, of the engine and of Claude."""
        asked = [self.engine_fingerprint] if self.model else []
        if self.job.escalation:
            asked += [self.claude_system_prompt, json.dumps(self.claude_answer_schema, sort_keys=True)]
        return hashlib.sha256("\x00".join(asked).encode()).hexdigest()[:16]

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

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of documents for the engine; none where there is no engine."""
        if self.model is None:
            return [[] for _ in texts]
        return self.tokenizer.encode_documents([defused(text, DOCUMENT_MARK) for text in texts])

    @cached_property
    def tokenizer(self) -> ModelTokenizer:
        """The engine's tokenizer."""
        assert self.model is not None
        return ModelTokenizer(self.model)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The job's labels with their codes.

        Raises:
            JobError: more labels than one token of the model can tell apart.
        """
        if self.model is None:
            return tuple(Label("", name, meaning) for name, meaning in self.job.labels.items())
        if len(self.job.labels) > MAX_LABELS:
            raise JobError(
                [f"labels: {len(self.job.labels)} labels, limit {MAX_LABELS}; merge some, or sort in two jobs"]
            )
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
            JobError: instructions and labels leave no room for a document.
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
        return room

    @cached_property
    def calibration(self) -> Calibration | None:
        """The model's calibration, if it was made for exactly this prompt and these labels."""
        calibration = self.model.calibration if self.model else None
        if calibration is None:
            return None
        is_fitting = calibration.fits(prompt_fingerprint=self.engine_fingerprint, labels=tuple(self.job.labels))
        return calibration if is_fitting else None

    @property
    def is_calibration_refused(self) -> bool:
        """Whether the model has a calibration that is not for this question."""
        return self.model is not None and self.model.calibration is not None and self.calibration is None
