"""What the engine is asked about every document of a job: labels, prompt, token ids, calibration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.cascade.confidence import Calibration
from pipelines.errors import JobError
from pipelines.job import Job
from pipelines.tasks.classification import (
    Label,
    PromptFrame,
    answer_schema,
    assign_codes,
    claude_system_prompt,
    local_prompt,
)
from workers.catalogue import ResolvedModel
from workers.engine import MAX_LABELS
from workers.tokens import ModelTokenizer, TokenFrame, context_length

_LEAST_DOCUMENT_TOKENS = 64


@dataclass(frozen=True)
class Question:
    """Derived from a job and its model alone; the same on every machine."""

    job: Job
    model: ResolvedModel | None  # None: there is no engine, every document goes to Claude

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what is asked, whoever is asked first."""
        if self.model is None:
            return hashlib.sha256(self.claude_system_prompt.encode()).hexdigest()[:16]
        return self.prompt.fingerprint

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
        return [[] for _ in texts] if self.model is None else self.tokenizer.encode_documents(texts)

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
    def document_tokens(self) -> int:
        """How many tokens of a document fit beside the prompt and the one token of the answer.

        Raises:
            JobError: instructions and labels leave no room for a document.
        """
        if self.model is None:
            return 1
        context = context_length(self.model)
        room = context - len(self.frame) - 1
        if room < _LEAST_DOCUMENT_TOKENS:
            raise JobError(
                [
                    f"labels: instructions and labels take {len(self.frame)} of the model's {context} tokens, "
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
        is_fitting = calibration.fits(prompt_fingerprint=self.prompt.fingerprint, labels=tuple(self.job.labels))
        return calibration if is_fitting else None
