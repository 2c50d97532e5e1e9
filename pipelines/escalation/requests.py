"""From an item to a request, and from a result row back to an answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.escalation.provider import ItemResult, Request
from pipelines.tasks.classification import parse_label


@dataclass(frozen=True)
class RequestTemplate:
    """What all requests of a run share."""

    model: str
    max_output_tokens: int
    system_prompt: str
    schema: dict[str, Any]

    def build(self, custom_id: str, text: str) -> Request:
        """One request. The document is a content block of its own: nothing of ours can be mistaken for it.

        No sampling parameters: the API refuses them since version 2026-10-21. Structured output rather than a forced
        tool call, which the 5.5 models refuse.
        """
        return {
            "custom_id": custom_id,
            "params": {
                "model": self.model,
                "max_tokens": self.max_output_tokens,
                "system": self.system_prompt,
                "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
                "output_config": {"format": {"type": "json_schema", "schema": self.schema}},
            },
        }


def custom_id_of(run_id: str, chunk: int, item_id: str) -> str:
    """At most 64 characters, unique over runs: a batch found later can be told from every other run's."""
    return f"{hashlib.sha256(run_id.encode()).hexdigest()[:8]}-{chunk:05d}-{item_id}"


def read_answer(result: ItemResult, labels: Sequence[str]) -> tuple[str | None, str | None]:
    """The label of a result row, or the reason why it has none. Reasons never quote document or answer text."""
    if result.kind == "errored":
        return None, f"Claude could not answer: {result.error}"
    if result.kind != "succeeded":
        return None, f"the request was {result.kind} before Claude answered"
    if result.stop_reason == "refusal":
        return None, "Claude refused to answer"
    if result.stop_reason == "max_tokens":
        return None, "Claude's answer was cut off; raise escalation.max_output_tokens"
    try:
        answer = json.loads(result.text or "")
    except (ValueError, RecursionError):  # also a number of thousands of digits, or thousands of open brackets
        return None, "Claude's answer is not valid JSON"
    label = parse_label(answer, labels) if isinstance(answer, dict) else None
    return (label, None) if label else (None, "Claude's answer is none of the job's labels")
