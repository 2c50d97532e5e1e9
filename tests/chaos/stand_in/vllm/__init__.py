"""Stands in for vLLM where `workers.engine` imports it, in the processes of a Ray node with this on its PYTHONPATH.

Same calls, same shapes; the log-probabilities are a function of the prompt's tokens alone, and about half of them are
doubtful. It starts at once and takes its time for each prompt, so that there is something to kill.
"""

from __future__ import annotations

import math
import random
import time
import zlib
from array import array
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

_SECONDS_PER_PROMPT = 0.02


@dataclass
class SamplingParams:
    max_tokens: int
    temperature: float
    logprob_token_ids: list[int]
    flat_logprobs: bool
    detokenize: bool
    output_kind: object
    skip_clone: bool


class LLM:
    def __init__(self, weights: str, skip_tokenizer_init: bool, **engine_args: Any) -> None:
        self.llm_engine = _Engine()


class _Engine:
    def __init__(self) -> None:
        self._waiting: deque[tuple[str, list[int], int]] = deque()

    def add_request(self, request_id: str, prompt: list[int], params: SamplingParams) -> None:
        self._waiting.append((request_id, prompt, len(params.logprob_token_ids)))

    def step(self) -> list[Any]:
        """Finish one prompt."""
        time.sleep(_SECONDS_PER_PROMPT)
        request_id, prompt, labels = self._waiting.popleft()
        flat = SimpleNamespace(logprobs=[0.0, *_logprobs(prompt, labels)])
        output = SimpleNamespace(logprobs=flat, token_ids=[0])
        return [
            SimpleNamespace(
                request_id=request_id, prompt_token_ids=prompt, num_cached_tokens=0, outputs=[output], finished=True
            )
        ]


def _logprobs(prompt: list[int], labels: int) -> list[float]:
    draw = random.Random(zlib.crc32(array("i", prompt).tobytes()))
    best, likely = draw.randrange(labels), draw.choice((0.97, 0.6))
    rest = (0.999 - likely) / (labels - 1)
    return [math.log(likely if label == best else rest) for label in range(labels)]
