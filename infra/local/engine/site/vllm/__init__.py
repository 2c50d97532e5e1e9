"""Stands in for vLLM where `workers.engines.engine` imports it: same calls, same shapes, nothing else of it.

Answers come from `infra.local.engine.answers`, after as many seconds for each token of output as the environment says.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from infra.local.engine.answers import Answers

_PROMPTS_A_STEP = 256
_MOST_LOGPROB_TOKEN_IDS = 128


@dataclass
class SamplingParams:
    """The parameters that are asked for; but for vLLM's bound on the labels, they only tell the kind of answer."""

    max_tokens: int
    temperature: float
    output_kind: object
    skip_clone: bool
    logprob_token_ids: list[int] | None = None
    flat_logprobs: bool = False
    detokenize: bool = True
    structured_outputs: Any = None

    def __post_init__(self) -> None:
        if len(self.logprob_token_ids or ()) > _MOST_LOGPROB_TOKEN_IDS:
            raise ValueError(f"logprob_token_ids: more than {_MOST_LOGPROB_TOKEN_IDS}")

    def verify(self, *_: Any) -> None:
        """Nothing else can be wrong here."""


class LLM:
    """An engine that is ready at once."""

    def __init__(self, weights: str, **engine_args: Any) -> None:
        self.llm_engine = _Engine(weights, os.environ, engine_args)


class _Engine:
    def __init__(self, weights: str, environment: Mapping[str, str], engine_args: Mapping[str, Any]) -> None:
        self.engine_args = engine_args
        limits = SimpleNamespace(
            max_num_batched_tokens=engine_args.get("max_num_batched_tokens", 8192),
            max_num_seqs=engine_args.get("max_num_seqs", _PROMPTS_A_STEP),
        )
        self.vllm_config = SimpleNamespace(scheduler_config=limits)
        self.most_held = 0  # requests at a time
        self._block = int(environment.get("ENGINE_STAND_IN_BLOCK", "0"))
        self._last: list[int] = []  # what the cache holds
        self._answers = Answers(weights, environment.get("ENGINE_STAND_IN_ANSWER_KEY"))
        self._seconds_per_token = float(environment.get("ENGINE_STAND_IN_SECONDS_PER_TOKEN", "0"))
        self._waiting: deque[tuple[str, list[int], SamplingParams]] = deque()

    def add_request(self, request_id: str, prompt: list[int], params: SamplingParams) -> None:
        self._waiting.append((request_id, prompt, params))
        self.most_held = max(self.most_held, len(self._waiting))

    def step(self) -> list[Any]:
        """Finish one prompt, or where that takes no time, as many as a real engine would in a step."""
        if not self._seconds_per_token:
            return [self._finish() for _ in range(min(len(self._waiting), _PROMPTS_A_STEP))]
        finished = self._finish()
        time.sleep(self._seconds_per_token * len(finished.outputs[0].token_ids))
        return [finished]

    def _finish(self) -> SimpleNamespace:
        request_id, prompt, params = self._waiting.popleft()
        output = self._complete(prompt, params)
        return SimpleNamespace(
            request_id=request_id,
            prompt_token_ids=prompt,
            num_cached_tokens=self._found_in_cache(prompt),
            outputs=[output],
            finished=True,
        )

    def _found_in_cache(self, prompt: list[int]) -> int:
        """Of the prompt's tokens, the whole blocks that the one before began with, where there is a cache at all."""
        if not self._block or not self.engine_args.get("enable_prefix_caching"):
            return 0
        shared = next((at for at, (a, b) in enumerate(zip(prompt, self._last, strict=False)) if a != b), None)
        found = min(len(prompt), len(self._last)) if shared is None else shared
        self._last = prompt
        return found // self._block * self._block

    def _complete(self, prompt: list[int], params: SamplingParams) -> SimpleNamespace:
        if params.logprob_token_ids is None:
            text = self._answers.review(prompt, params.structured_outputs.json)
            return SimpleNamespace(text=text, token_ids=[0] * (len(text) // 4))
        # Position 0 is the token that was sampled; the codes follow.
        flat = SimpleNamespace(logprobs=[0.0, *self._answers.logprobs(prompt, params.logprob_token_ids)])
        return SimpleNamespace(logprobs=flat, token_ids=[0])
