"""A shard of which several questions are asked: each document with one question after the other, next to each other.

In: an engine, one frame a question, token ids of documents. Out: the scores of each question, in the documents' order.
The frames begin alike, so of a document that an engine has read for one question, the next finds all but the end in the
cache; what that reading took is shared by all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.costs.accounting import share_over_questions
from pipelines.errors import EngineError
from workers.engines.engine import LabelEngine
from workers.engines.requests import LABELS_A_REQUEST, Shard, ShardScores, zeros
from workers.engines.tokens import TokenFrame


@dataclass(frozen=True)
class QuestionFrame:
    """One question: the folder that its predictions go to, and what stands around a document."""

    key: str
    frame: TokenFrame


class QuestionsEngine(LabelEngine):
    """Scores shards of documents for several frames at a time."""

    def __init__(
        self, weights: str, engine_args: Mapping[str, Any], questions: Sequence[QuestionFrame], devices: float = 1
    ) -> None:
        """Load the model and start stepping.

        Args:
            weights: folder or Hugging Face id.
            engine_args: vLLM engine arguments.
            questions: whose frames begin alike.
            devices: GPUs (or cores) this engine holds.

        Raises:
            EngineError: the frames do not begin alike, so that every question would be a reading of its own.
        """
        if len({question.frame.prefix for question in questions}) != 1:
            raise EngineError("the questions' prompts do not begin alike; please report this with the model's name")
        super().__init__(weights, engine_args, questions[0].frame, devices)
        self._questions = tuple(questions)

    def score_all(self, documents: Sequence[NDArray[np.int32]]) -> list[ShardScores]:
        """Score a shard, every question of a document right after the one before.

        Raises:
            EngineError: the engine failed.
        """
        frames = [question.frame for question in self._questions]
        params = [self._params_of(frame.codes) for frame in frames]
        count, asked = len(documents), len(frames)
        # Of a question with fewer labels than another, the rest are impossible.
        logprobs = np.full((count * asked, max(len(frame.codes) for frame in frames)), -np.inf, np.float32)
        whole = ShardScores(logprobs, *zeros(count * asked))

        def prompt(row: int) -> list[int]:
            frame = frames[row % asked]
            return [*frame.prefix, *documents[row // asked].tolist(), *frame.suffix]

        def keep(row: int, part: int, completion: Any) -> None:
            # Position 0 is the token the engine would have sampled; the codes follow in the order asked.
            told = completion.logprobs.logprobs[1:]
            first = part * LABELS_A_REQUEST
            logprobs[row, first : first + len(told)] = told

        future: Future[ShardScores] = self._queue(
            Shard(prompt, lambda row: params[row % asked], keep, whole, count * asked)
        )
        return _by_question(future.result(), [len(frame.codes) for frame in frames])


def _by_question(whole: ShardScores, labels: Sequence[int]) -> list[ShardScores]:
    """The numbers of each question, of those of all requests; a document's engine time is shared by its questions."""
    asked = len(labels)

    def split(values: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.ascontiguousarray(values.reshape(-1, asked).T)

    input_tokens = split(whole.input_tokens)
    shares = share_over_questions(split(whole.device_nanoseconds), input_tokens)
    logprobs = [np.ascontiguousarray(whole.label_logprobs[place::asked, :count]) for place, count in enumerate(labels)]
    each = zip(logprobs, input_tokens, split(whole.cached_tokens), split(whole.output_tokens), shares, strict=True)
    return [ShardScores(*numbers) for numbers in each]
