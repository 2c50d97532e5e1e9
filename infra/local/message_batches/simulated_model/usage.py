"""Token counts and prompt cache fields, consistent with the length of the text.

Not Anthropic's tokenizer: one token per 3.5 characters, for every model alike. Enough to exercise cost code.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Protocol

from infra.local.message_batches.simulated_model.catalogue import Model
from infra.local.message_batches.simulated_model.checks import Params

CHARACTERS_PER_TOKEN = 3.5
_TTL_SECONDS = {"5m": 300, "1h": 3600}


class PromptCache(Protocol):
    """Remembers which prompt prefixes were seen lately."""

    def touch(self, prefix: str, ttl_seconds: int) -> bool:
        """Say whether the prefix was cached; it is cached from now on."""


def count_tokens(text: str) -> int:
    """The tokens of one text; even an empty one takes a token."""
    return max(1, math.ceil(len(text) / CHARACTERS_PER_TOKEN))


def input_tokens(params: Params) -> int:
    """All input tokens of a request, cached or not."""
    return count_tokens("".join(text for text, _ in _pieces(params)))


@dataclass(frozen=True)
class _Prefix:
    digest: str
    tokens: int
    ttl: str


def build_usage(
    params: Params, model: Model, cache: PromptCache, *, output_tokens: int, thinking_tokens: int, tier: str
) -> dict[str, Any]:
    """The ``usage`` object of one message."""
    written = {"5m": 0, "1h": 0}
    read = 0
    prefix = _cached_prefix(params, model)
    if prefix is not None:
        if cache.touch(f"{model.id}:{prefix.digest}", _TTL_SECONDS[prefix.ttl]):
            read = prefix.tokens
        else:
            written[prefix.ttl] = prefix.tokens
    cached = read + sum(written.values())
    geo = params.get("inference_geo") or "global"
    return {
        "input_tokens": max(0, input_tokens(params) - cached),
        "cache_creation_input_tokens": sum(written.values()),
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written["5m"], "ephemeral_1h_input_tokens": written["1h"]},
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": thinking_tokens},
        "service_tier": tier,
        "inference_geo": geo if model.takes_geo else "not_available",
    }


def _cached_prefix(params: Params, model: Model) -> _Prefix | None:
    """Everything up to the last cache_control mark, when it is long enough for the model."""
    pieces = _pieces(params)
    marks = [i for i, (_, mark) in enumerate(pieces) if mark is not None]
    if not marks:
        return None
    text = "".join(piece for piece, _ in pieces[: marks[-1] + 1])
    tokens = count_tokens(text)
    if tokens < model.min_cache_tokens:
        return None
    mark = pieces[marks[-1]][1] or {}
    ttl = mark.get("ttl") or "5m"
    return _Prefix(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), tokens, ttl)


def _pieces(params: Params) -> list[tuple[str, dict[str, Any] | None]]:
    """The prompt as (text, cache_control) in the order the model reads it."""
    blocks: list[Any] = _as_blocks(params.get("system"))
    for message in params.get("messages") or ():
        blocks += _as_blocks(message.get("content"))
    pieces = [(_text_of(block), block.get("cache_control")) for block in blocks]
    if params.get("cache_control") is not None and pieces:
        pieces[-1] = (pieces[-1][0], params["cache_control"])  # the top-level mark means: cache all of it
    return pieces


def _as_blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _text_of(block: dict[str, Any]) -> str:
    text = block.get("text")
    return text if isinstance(text, str) else json.dumps(block)
