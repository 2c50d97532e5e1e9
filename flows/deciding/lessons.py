"""What the labels of one task teach an adapter, and what it says of documents that were held back.

A classification learns which label answers a document. A code review learns one thing only, whether a claim about code
is true: how reviews are written stays the base's.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import pyarrow as pa

from flows.deciding.review_labels import OF_REVIEWS, read_labelled_reviews
from flows.deciding.run_labels import read_labelled
from flows.questions.classification import LabelQuestion
from flows.questions.code_review import ReviewQuestion
from flows.questions.question import Question
from flows.run import Run
from pipelines.adapting.gate import Logprobs
from pipelines.adapting.labels import Division, Labelled, Source
from pipelines.adapting.reviews import LabelledReview, ranked_logprobs, verified_anew
from pipelines.predictions import read_predictions
from pipelines.store.schemas import REVIEWS
from pipelines.tasks.classification import Label, local_prompt
from pipelines.tasks.code_review.verification import CLAIM_LABELS, VERIFICATION_ONLY
from pipelines.tasks.label_order import mean_logprobs, reads_reversed

if TYPE_CHECKING:
    from workers.adapting.examples import Example, OrderedFrame

_SHUFFLED_FRAMES = 12  # rendering a chat template takes a tenth of a second
_TRUE, _FALSE = range(len(CLAIM_LABELS))


class Lesson(Protocol):
    """What is taught of one question."""

    @property
    def task(self) -> str:
        """What the adapter's card says that it is for."""

    @property
    def answers(self) -> tuple[str, ...]:
        """What it chooses between."""

    @property
    def served(self) -> list[OrderedFrame]:
        """The frames that the engine uses."""

    def shuffled(self, seed: int) -> list[OrderedFrame]:
        """Others that teach the answers' meaning rather than their letters; may be none."""

    def read(self, run: Run, sources: Sequence[Source]) -> Iterable[Labelled]:
        """The labelled documents of a run."""

    def counts(self, division: Division) -> dict[str, dict[str, int]]:
        """How many labels of each source are trained on, and how many judge."""

    def examples(self, training: Sequence[Labelled]) -> list[Example]:
        """What is trained on."""

    def prompts(self, held_back: Sequence[Labelled]) -> int:
        """How many prompts `logprobs` has read."""

    def logprobs(
        self, network: Any, held_back: Sequence[Labelled], on_scored: Callable[[int], None] = lambda _: None
    ) -> Logprobs:
        """What a run would have of each document, in the order of the job's labels: shape [documents, labels]."""


def lesson_of(question: Question) -> Lesson:
    """What can be taught of a question that an engine is asked alone."""
    if isinstance(question, ReviewQuestion):
        return _VerificationLesson(question)
    assert isinstance(question, LabelQuestion)
    return _LabelLesson(question)


class _LabelLesson:
    """Which label answers a document."""

    def __init__(self, question: LabelQuestion) -> None:
        self._question = question
        self.task, self.answers = str(question.job.task), tuple(question.job.labels)
        self.served = served_frames(question)

    def shuffled(self, seed: int) -> list[OrderedFrame]:
        return shuffled_frames(self._question, seed)

    def read(self, run: Run, sources: Sequence[Source]) -> Iterable[Labelled]:
        return read_labelled(run, sources)

    def counts(self, division: Division) -> dict[str, dict[str, int]]:
        return division.counts

    def examples(self, training: Sequence[Labelled]) -> list[Example]:
        from workers.adapting.examples import Example

        return [Example(each.tokens, each.label) for each in training]

    def prompts(self, held_back: Sequence[Labelled]) -> int:
        return len(held_back) * len(self.served)

    def logprobs(
        self, network: Any, held_back: Sequence[Labelled], on_scored: Callable[[int], None] = lambda _: None
    ) -> Logprobs:
        return served_logprobs(network, self._question, self.served, held_back, on_scored)


class _VerificationLesson:
    """Whether a claim about reviewed code is true; judged by the verdicts that follow, as the rule ranks reviews."""

    task, answers = VERIFICATION_ONLY, tuple(CLAIM_LABELS)

    def __init__(self, question: ReviewQuestion) -> None:
        from workers.adapting.examples import OrderedFrame

        self._verdicts = tuple(question.job.labels)
        self.served = [OrderedFrame(question.frame, (_TRUE, _FALSE))]

    def shuffled(self, seed: int) -> list[OrderedFrame]:
        """None: a claim is never put in another way."""
        return []

    def read(self, run: Run, sources: Sequence[Source]) -> Iterable[Labelled]:
        return read_labelled_reviews(run, sources)

    def counts(self, division: Division) -> dict[str, dict[str, int]]:
        """Claims that are trained on, documents that judge."""
        trained = Counter(
            each.source for each in _reviews(division.training) for is_true in each.is_true if is_true is not None
        )
        return {**division.counts, "training": dict(sorted(trained.items()))}

    def examples(self, training: Sequence[Labelled]) -> list[Example]:
        from workers.adapting.examples import Example

        return [
            Example(claim.tokens, _TRUE if is_true else _FALSE)
            for each in _reviews(training)
            for claim, is_true in zip(each.claims, each.is_true, strict=True)
            if is_true is not None
        ]

    def prompts(self, held_back: Sequence[Labelled]) -> int:
        return sum(len(each.claims) for each in _reviews(held_back))

    def logprobs(
        self, network: Any, held_back: Sequence[Labelled], on_scored: Callable[[int], None] = lambda _: None
    ) -> Logprobs:
        from workers.adapting.network import score

        reviews, (frame,) = _reviews(held_back), self.served
        scored = score(network, frame, [claim.tokens for each in reviews for claim in each.claims], on_scored)
        ends = np.cumsum([len(each.claims) for each in reviews])
        rows = [
            verified_anew(each.review, each.claims, own)
            for each, own in zip(reviews, np.split(scored, ends[:-1]), strict=True)
        ]
        table = pa.Table.from_pylist(rows, schema=pa.schema([REVIEWS.field(name) for name in OF_REVIEWS]))
        return ranked_logprobs(read_predictions(table, self._verdicts, None))


def _reviews(labelled: Sequence[Labelled]) -> list[LabelledReview]:
    return cast("list[LabelledReview]", list(labelled))  # what `read` gave


def served_frames(question: LabelQuestion) -> list[OrderedFrame]:
    """The frames that the engine uses: as given, and reversed where the job reads the labels in both orders."""
    from workers.adapting.examples import OrderedFrame

    given = tuple(range(len(question.labels)))
    frames = [OrderedFrame(question.frame, given)]
    if question.two_orders:
        frames.append(OrderedFrame(question.two_orders.reversed_frame, given[::-1]))
    return frames


def shuffled_frames(question: LabelQuestion, seed: int) -> list[OrderedFrame]:
    """The same labels under other letters."""
    from workers.adapting.examples import OrderedFrame

    generator, count = random.Random(seed), len(question.labels)  # noqa: S311  # no secret

    def frame(order: tuple[int, ...]) -> OrderedFrame:
        named = [question.labels[label] for label in order]
        labels = [Label(at.code, of.name, of.description) for at, of in zip(question.labels, named, strict=True)]
        return OrderedFrame(question.tokenizer.encode_frame(local_prompt(labels, question.job.instructions)), order)

    orders = {tuple(generator.sample(range(count), count)) for _ in range(_SHUFFLED_FRAMES)}
    return [frame(order) for order in sorted(orders)]


def served_logprobs(
    network: Any,
    question: LabelQuestion,
    served: Sequence[OrderedFrame],
    documents: Sequence[Labelled],
    on_scored: Callable[[int], None] = lambda _: None,
) -> Logprobs:
    """As a run of the job would score them: shape [documents, labels]."""
    from workers.adapting.network import score

    tokens = [each.tokens for each in documents]
    scored = [score(network, frame, tokens, on_scored) for frame in served]
    if question.job.label_order == "averaged":
        return mean_logprobs(scored[0], scored[1]).astype(np.float64)
    if question.job.label_order == "seeded":
        is_reversed = reads_reversed([each.item_id for each in documents])
        return np.where(is_reversed[:, None], scored[1], scored[0]).astype(np.float64)
    return scored[0].astype(np.float64)
