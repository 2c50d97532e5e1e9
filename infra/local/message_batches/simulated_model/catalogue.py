"""The models the service knows and how their request rules differ: one small table.

Rules come from the per-model table of the project's facts on message batches. Sizes, dates and cache limits that
are not published for a model are cautious guesses; they shape only ``GET /v1/models`` and the cap on max_tokens.
"""

from dataclasses import dataclass
from typing import Any

EPOCH = "1970-01-01T00:00:00Z"
EFFORTS = ("low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True)
class Model:
    """One row of the table; ``thinking`` holds the accepted values of ``thinking.type``."""

    id: str
    display_name: str
    line: str
    thinking: frozenset[str]
    thinks_by_default: bool = False
    default_effort: str = "high"
    prefill: bool = False
    forced_tools: bool = True
    takes_geo: bool = True
    takes_effort: bool = True
    min_cache_tokens: int = 4096
    max_tokens: int = 128_000
    max_input_tokens: int = 1_000_000
    created_at: str = EPOCH
    deprecated_at: str | None = None
    retires_at: str | None = None


_BUDGET = frozenset({"enabled", "disabled"})
_MIXED = frozenset({"adaptive", "enabled", "disabled"})
_ADAPTIVE = frozenset({"adaptive", "disabled"})
_OLD: dict[str, Any] = {
    "thinking": _BUDGET,
    "prefill": True,
    "takes_geo": False,
    "takes_effort": False,
    "max_tokens": 64_000,
    "max_input_tokens": 200_000,
}

MODELS = (
    Model(
        "claude-haiku-5-5",
        "Claude Haiku 5.5",
        "haiku",
        _ADAPTIVE,
        thinks_by_default=True,
        default_effort="medium",
        created_at="2026-10-07T00:00:00Z",
    ),
    Model(
        "claude-sonnet-5-5",
        "Claude Sonnet 5.5",
        "sonnet",
        frozenset({"adaptive", "between_tools"}),
        thinks_by_default=True,
        forced_tools=False,
        created_at="2026-09-28T00:00:00Z",
    ),
    Model(
        "claude-opus-5-5",
        "Claude Opus 5.5",
        "opus",
        frozenset({"adaptive"}),
        thinks_by_default=True,
        created_at="2026-09-22T00:00:00Z",
    ),
    Model("claude-sonnet-5", "Claude Sonnet 5", "sonnet", _ADAPTIVE, min_cache_tokens=1024),
    Model("claude-opus-5", "Claude Opus 5", "opus", _ADAPTIVE, min_cache_tokens=512),
    Model("claude-opus-4-8", "Claude Opus 4.8", "opus", _ADAPTIVE, min_cache_tokens=1024),
    Model("claude-opus-4-7", "Claude Opus 4.7", "opus", _ADAPTIVE, min_cache_tokens=2048),
    Model("claude-opus-4-6", "Claude Opus 4.6", "opus", _MIXED),
    Model("claude-sonnet-4-6", "Claude Sonnet 4.6", "sonnet", _MIXED, min_cache_tokens=1024, max_tokens=64_000),
    Model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "haiku", **_OLD, created_at="2025-10-01T00:00:00Z"),
    Model("claude-opus-4-5-20251101", "Claude Opus 4.5", "opus", **_OLD, created_at="2025-11-01T00:00:00Z"),
    Model(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        "sonnet",
        **_OLD,
        min_cache_tokens=1024,
        created_at="2025-09-29T00:00:00Z",
        deprecated_at=EPOCH,  # the day it was deprecated is not in the facts
        retires_at="2026-11-30T00:00:00Z",
    ),
)

# The short names of the 4.5 models point at dated ones, and answers carry the dated id.
ALIASES = {
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
}
_BY_ID = {model.id: model for model in MODELS}


def find_model(name: object) -> Model | None:
    """The model of this id or alias."""
    return _BY_ID.get(ALIASES.get(name, name)) if isinstance(name, str) else None


def model_info(model: Model) -> dict[str, Any]:
    """The model as ``GET /v1/models`` shows it."""
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "line": model.line,
        "lifecycle": "deprecated" if model.retires_at else "active",
        "created_at": model.created_at,
        "deprecated_at": model.deprecated_at,
        "retires_at": model.retires_at,
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_tokens,
        "capabilities": _capabilities(model),
    }


def _capabilities(model: Model) -> dict[str, Any]:
    thinking_types = ("adaptive", "between_tools", "disabled", "enabled")
    no, yes = {"supported": False}, {"supported": True}
    return {
        "batch": yes,
        "citations": no,
        "code_execution": no,
        "context_management": {
            "supported": False,
            "clear_thinking_20251015": no,
            "clear_tool_uses_20250919": no,
            "compact_20260112": no,
        },
        "effort": {"supported": model.takes_effort} | {level: {"supported": model.takes_effort} for level in EFFORTS},
        "image_input": no,
        "pdf_input": no,
        "server_tools": {"supported": False, "code_execution": no, "web_search": no},
        "structured_outputs": yes,
        "thinking": {
            "supported": True,
            "types": {kind: {"supported": kind in model.thinking} for kind in thinking_types},
        },
    }
