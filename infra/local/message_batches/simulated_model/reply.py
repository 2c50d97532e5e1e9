"""One request's outcome: a message with usage, or an error; with a fault acted out where one is given."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.local.message_batches.simulated_model.answers import AnswerKey
from infra.local.message_batches.simulated_model.catalogue import Model
from infra.local.message_batches.simulated_model.checks import Params, RequestRefusedError, check_params, effort_of
from infra.local.message_batches.simulated_model.usage import (
    CHARACTERS_PER_TOKEN,
    PromptCache,
    build_usage,
    count_tokens,
)

# Invented sizes: large enough that a small max_tokens leaves no text, as on the real models.
_THINKING_TOKENS = {"low": 24, "medium": 64, "high": 128, "xhigh": 256, "max": 512}
REFUSAL_TEXT = "simulation: this refusal was asked for"

ERROR_FAULTS = {
    "credit_balance": (
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits.",
    ),
    "errored_api_error": ("api_error", "Internal server error"),
    "errored_overloaded": ("overloaded_error", "Overloaded"),
    "errored_invalid_request": ("invalid_request_error", "simulation: this request was declared invalid"),
}
_SPOIL: dict[str, Callable[[Any], Any]] = {
    "label_other_case": lambda label: label.swapcase() if isinstance(label, str) else label,
    "unknown_label": lambda label: f"not_{label}_at_all",
}
ANSWER_FAULTS = ("refusal", "max_tokens_empty", "thinking_first", "label_other_case", "invalid_json", "unknown_label")


@dataclass(frozen=True)
class Simulator:
    """Answers requests from a key of known answers."""

    key: AnswerKey

    def reply(
        self, params: Params, *, version: str, tier: str, cache: PromptCache, message_id: str, fault: str | None = None
    ) -> dict[str, Any]:
        """The message for these params; ``tier`` is what its usage reports as service tier.

        Raises:
            RequestRefusedError: The params are not acceptable, the document is unknown, or the fault says so.
        """
        if fault in ERROR_FAULTS:
            kind, text = ERROR_FAULTS[fault]
            raise RequestRefusedError(text, kind)
        model = check_params(params, version)
        text = "" if fault in ("refusal", "max_tokens_empty") else self._text(params, fault)
        thinking = _thinking_tokens(params, model, fault)
        limit: int = params["max_tokens"]
        wanted = limit if fault == "max_tokens_empty" else thinking + count_tokens(text)
        if wanted > limit:
            text = text[: int(max(0, limit - thinking) * CHARACTERS_PER_TOKEN)]
        usage = build_usage(
            params,
            model,
            cache,
            output_tokens=min(wanted, limit),
            thinking_tokens=min(thinking, limit),
            tier=tier,
        )
        return {
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": model.id,
            "content": _content(text, thinking, message_id),
            "stop_reason": _stop_reason(fault, wanted > limit),
            "stop_sequence": None,
            "stop_details": _refusal_details() if fault == "refusal" else None,
            "usage": usage,
        }

    def _text(self, params: Params, fault: str | None) -> str:
        known = self.key.find(params)
        form = (params.get("output_config") or {}).get("format")
        spoil = _SPOIL.get(fault or "")
        if form:
            answer = self.key.fill(form["schema"], known, spoil)
        else:
            answer = {name: spoil(value) for name, value in known.values.items()} if spoil else known.values
        text = json.dumps(answer, ensure_ascii=False)
        return text[: max(1, len(text) * 2 // 3)] if fault == "invalid_json" else text


def _thinking_tokens(params: Params, model: Model, fault: str | None) -> int:
    asked = params.get("thinking")
    kind = asked["type"] if asked else None
    thinks = model.thinks_by_default if kind is None else kind in ("adaptive", "enabled")
    if fault == "refusal" or not (thinks or fault == "thinking_first"):
        return 0
    return _THINKING_TOKENS[effort_of(params, model)]


def _content(text: str, thinking: int, message_id: str) -> list[dict[str, Any]]:
    """The thinking block comes first and is empty, as its display is omitted by default."""
    blocks: list[dict[str, Any]] = []
    if thinking:
        signature = base64.b64encode(hashlib.sha256(message_id.encode()).digest()).decode()
        blocks.append({"type": "thinking", "thinking": "", "signature": signature})
    if text:
        blocks.append({"type": "text", "text": text, "citations": None})
    return blocks


def _stop_reason(fault: str | None, was_cut: bool) -> str:
    if fault == "refusal":
        return "refusal"
    return "max_tokens" if was_cut or fault == "max_tokens_empty" else "end_turn"


def _refusal_details() -> dict[str, Any]:
    return {"type": "refusal", "category": None, "explanation": REFUSAL_TEXT}
