"""What an engine can keep of the beginning that all prompts of a run share.

vLLM finds a beginning in its cache in whole blocks only, and a hybrid model's block is larger than most frames are:
there caching finds nothing, and cuts every longer prompt into two steps. Knows nothing of engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.engines.catalogue import CatalogueEntry

_FP8_CACHE = 2  # its blocks hold nearly twice the tokens


@dataclass(frozen=True)
class PrefixReuse:
    """``tokens`` are shared; ``block`` of them are kept together, None: nobody knows."""

    tokens: int
    block: int | None
    is_on: bool

    @property
    def promised_tokens(self) -> int | None:
        """What each prompt but the first finds in the cache; None where it cannot be said."""
        if not self.is_on:
            return 0
        return None if self.block is None else self.tokens // self.block * self.block

    @property
    def note(self) -> str | None:
        """Why nothing is kept, where a person would expect otherwise."""
        if self.is_on or self.block is None:
            return None
        return (
            f"off: the prompts share {self.tokens:,} tokens, and the model keeps blocks of {self.block:,} (`pipeline "
            "models`)"
        )


def prefix_reuse(entry: CatalogueEntry, arguments: Mapping[str, Any], is_asked: bool, tokens: int) -> PrefixReuse:
    """Whether caching is worth it for a beginning of so many tokens.

    Args:
        entry: what is known of the model.
        arguments: the engine's, defaults included.
        is_asked: the job itself says whether there is caching.
        tokens: that all prompts share.
    """
    block = entry.prefix_block
    if block is not None:
        block = max(block, int(arguments.get("block_size") or 0))
        block *= _FP8_CACHE if str(arguments.get("kv_cache_dtype", "auto")).startswith("fp8") else 1
    is_on = bool(arguments.get("enable_prefix_caching", True))
    if not is_asked and block is not None and tokens < block:
        is_on = False
    return PrefixReuse(tokens, block, is_on)
