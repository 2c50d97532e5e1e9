"""What the engine and Claude are asked in a code review: the prompts of both passes, and what fits beside them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flows.questions.classification import Question
from pipelines.cascade.confidence import Calibration
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.tasks.classification import Label, PromptFrame, assign_codes
from pipelines.tasks.code_review.answers import answer_schema
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
from workers.engines.reviews import ReviewSettings
from workers.engines.tokens import TokenFrame, context_length

_LEAST_PIECE_TOKENS = 64
_MOST_OUTPUT_TOKENS = 2_048


@dataclass(frozen=True)
class ReviewQuestion(Question):
    """Derived from a job and its model alone; the same on every machine."""

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
        return hashlib.sha256(f"{super().fingerprint}\x00{claude_text('', ())}".encode()).hexdigest()[:16]

    @property
    def claude_answer_schema(self) -> dict[str, Any]:
        """JSON Schema of Claude's list of findings."""
        return answer_schema()

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of code for the engine; none where there is no engine."""
        if self.model is None:
            return [[] for _ in texts]
        return self.tokenizer.encode_documents([defused(text, CODE_MARK) for text in texts])

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The verdicts; nobody is asked for them, they follow from the findings."""
        return tuple(Label("", name, meaning) for name, meaning in self.job.labels.items())

    @cached_property
    def prompt(self) -> PromptFrame:
        """The engine's prompt around code and claim."""
        assert self.model is not None
        labels = assign_codes(CLAIM_LABELS, self.tokenizer.is_single_token, self.model.name)
        return verification_prompt(self.job.instructions, labels)

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
            context_tokens=context_length(self.model),
            tokenizer_json=self.tokenizer.json,
        )

    @cached_property
    def _output_tokens(self) -> int:
        assert self.model is not None
        return self.job.reviews.max_output_tokens or min(context_length(self.model) // 4, _MOST_OUTPUT_TOKENS)

    @cached_property
    def document_tokens(self) -> int:
        """How many tokens of code fit beside the longer prompt and its answer: the size of a piece.

        Raises:
            JobError: they leave no room for code.
        """
        if self.model is None:
            return 1
        context = context_length(self.model)
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
        calibration = self.model.calibration if self.model else None
        if calibration is None:
            return None
        is_fitting = calibration.fits(prompt_fingerprint=self.frame.fingerprint, labels=tuple(CLAIM_LABELS))
        return calibration if is_fitting else None


def question_of(job: Job, model: ResolvedModel | None) -> Question:
    """The question of a job's task."""
    return ReviewQuestion(job, model) if job.task == "code_review" else Question(job, model)
