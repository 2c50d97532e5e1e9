"""How many tokens the engine read, and what of them it found in its cache beside what the shared frame promises."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

# The first prompts of an engine find nothing yet: as many as go into its first steps, a few hundred.
_LEAST_PROMPTS_AN_ENGINE = 1_000
_KEPT = 0.75


class CachePromise(BaseModel):
    """Of each prompt so many tokens are to be found in the cache, once its engine has begun."""

    model_config = ConfigDict(frozen=True)

    tokens: int
    engines: int


class Prompts(BaseModel):
    """Prompt tokens of all scored items; ``promised_tokens`` where it can be said what the cache should hold."""

    model_config = ConfigDict(frozen=True)

    input_tokens: int
    cached_tokens: int
    promised_tokens: int | None = None

    def told(self) -> str:
        """For people."""
        told = f"{self.input_tokens:,} tokens, {self.cached_tokens / self.input_tokens:.1%} of them found in the cache"
        if self.promised_tokens:
            return f"{told}; their frame promises {self.promised_tokens / self.input_tokens:.1%}"
        return told


class PromptTally:
    """Adds up result tables."""

    def __init__(self) -> None:
        self._input = self._cached = self._prompts = 0

    def add(self, table: pa.Table) -> None:
        """Count the rows of one part."""
        self._input += pc.sum(table["input_tokens"]).as_py() or 0
        self._cached += pc.sum(table["cached_tokens"]).as_py() or 0
        self._prompts += pc.sum(table["output_tokens"]).as_py() or 0  # of a label: one token a prompt

    def closed(self, promise: CachePromise | None) -> Prompts | None:
        """None where no engine read anything."""
        if not self._input:
            return None
        promised = None if promise is None else promise.tokens * self._prompts
        return Prompts(input_tokens=self._input, cached_tokens=self._cached, promised_tokens=promised)

    def warnings(self, promise: CachePromise | None) -> list[str]:
        """Where the cache falls short of the promise."""
        if promise is None or self._prompts < _LEAST_PROMPTS_AN_ENGINE * promise.engines:
            return []
        promised = promise.tokens * self._prompts
        if self._cached >= promised * _KEPT:
            return []
        return [
            f"the engine found {self._cached / self._input:.1%} of the prompts' tokens in its cache, where the shared "
            f"frame promises {promised / self._input:.1%}: it has computed the frame again and again. Give it more "
            "memory for its cache (a higher gpu_memory_utilization, a lower max_model_len)"
        ]
