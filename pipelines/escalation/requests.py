"""From an item to a request. What differs between Claude models is in capabilities.toml beside this file."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.costs.reservations import LEAST_BYTES_PER_TOKEN, OVERHEAD_TOKENS
from pipelines.escalation.provider import Request

# Batches outlast the five minutes that a cache entry lives by default.
_CACHE_FOR_AN_HOUR = {"type": "ephemeral", "ttl": "1h"}
# English and JSON: what a prefix surely has at least, for deciding whether it is long enough to be cached.
_MOST_BYTES_PER_TOKEN = 5


class Capabilities(BaseModel):
    """What a Claude model takes in a batch request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thinking: dict[str, str] | None = None
    cacheable_from_tokens: int | None = None
    takes_inference_geo: bool = False
    max_output_tokens: int | None = None
    context_tokens: int = 200_000


@lru_cache
def capabilities() -> dict[str, Capabilities]:
    """The table shipped with this version."""
    text = resources.files("pipelines.escalation").joinpath("capabilities.toml").read_text(encoding="utf-8")
    return {model: Capabilities.model_validate(row) for model, row in tomllib.loads(text).items()}


def capabilities_of(model: str) -> Capabilities:
    """The model's row; the cautious one for a model that is not in the table."""
    return capabilities().get(model, Capabilities())


@dataclass(frozen=True)
class RequestTemplate:
    """What all requests to one model have in common."""

    model: str
    max_output_tokens: int
    system_prompt: str
    schema: dict[str, Any]
    inference_geo: str | None = None

    def build(self, custom_id: str, text: str) -> Request:
        """One request. The document is a content block of its own: nothing of ours can be mistaken for it.

        No sampling parameters: the API refuses them since version 2026-10-21. Structured output rather than a forced
        tool call, which the 5.5 models refuse.
        """
        able = capabilities_of(self.model)
        params: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.max_output_tokens,
            "system": self._system(),
            "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
            "output_config": {"format": {"type": "json_schema", "schema": self.schema}},
        }
        if able.thinking:
            params["thinking"] = able.thinking
        if self.inference_geo and able.takes_inference_geo:
            params["inference_geo"] = self.inference_geo
        return {"custom_id": custom_id, "params": params}

    def shared_bytes(self) -> int:
        """Size of what every request repeats."""
        return len(self.system_prompt.encode()) + len(str(self.schema).encode())

    @property
    def room_bytes(self) -> int:
        """Size of a text that surely fits into the model's context, counted as its worst case is."""
        tokens = capabilities_of(self.model).context_tokens - self.max_output_tokens - OVERHEAD_TOKENS
        return max(tokens * LEAST_BYTES_PER_TOKEN - self.shared_bytes(), 0)

    @property
    def is_cached(self) -> bool:
        """Whether the shared prefix is marked for caching: only where it surely is long enough for that."""
        least_tokens = capabilities_of(self.model).cacheable_from_tokens
        surely_tokens = len(self.system_prompt.encode()) // _MOST_BYTES_PER_TOKEN
        return least_tokens is not None and surely_tokens >= least_tokens

    def _system(self) -> str | list[dict[str, Any]]:
        if not self.is_cached:
            return self.system_prompt
        return [{"type": "text", "text": self.system_prompt, "cache_control": _CACHE_FOR_AN_HOUR}]


def custom_id_of(run_id: str, chunk: int, item_id: str) -> str:
    """At most 64 characters, unique over runs: a batch found later can be told from every other run's."""
    return f"{hashlib.sha256(run_id.encode()).hexdigest()[:8]}-{chunk:05d}-{item_id}"
