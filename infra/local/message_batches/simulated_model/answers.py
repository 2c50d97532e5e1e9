"""Known answers, shaped to the schema a request asks for.

The answer key maps the sha256 of a document's text to property values. With the configured probability an enum
property is answered wrongly; the draw depends on the document alone, so the same document is always answered alike.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.message_batches.simulated_model.checks import Params, RequestRefusedError
from infra.local.message_batches.simulated_model.schema_rules import resolve

_MISSING = object()


@dataclass(frozen=True)
class KnownAnswer:
    """What the key holds for one document."""

    text_sha256: str
    values: dict[str, Any]


@dataclass(frozen=True)
class AnswerKey:
    """All known answers and how often to be wrong."""

    answers: dict[str, dict[str, Any]]
    error_rate: float
    seed: int

    @classmethod
    def load(cls, path: Path | None, *, error_rate: float, seed: int) -> "AnswerKey":
        """Read the JSONL file; without one, no document has an answer."""
        answers: dict[str, dict[str, Any]] = {}
        if path is not None:
            with path.open(encoding="utf-8") as lines:
                for line in filter(str.strip, lines):
                    entry = json.loads(line)
                    answers[entry["text_sha256"]] = entry["answer"]
        return cls(answers, error_rate, seed)

    def find(self, params: Params) -> KnownAnswer:
        """The answer for the first user text block the key knows, or a refusal that must not be retried."""
        for text in user_texts(params):
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            if digest in self.answers:
                return KnownAnswer(digest, self.answers[digest])
        known = len(self.answers)
        message = f"simulation: no answer known for this document (answer key has {known} entries)"
        raise RequestRefusedError(message, "not_found_error")

    def fill(self, schema: dict[str, Any], known: KnownAnswer, spoil: Callable[[Any], Any] | None = None) -> Any:
        """A value that obeys the schema, made of the known values and neutral ones where nothing is known.

        ``spoil`` changes every value chosen from an enum, which then need not obey the schema any more.
        """
        return _Filler(schema, known.text_sha256, self, spoil).fill(schema, known.values, "")

    def draw(self, *parts: str) -> float:
        """A number in [0, 1) that depends only on the seed and the parts."""
        digest = hashlib.sha256("\x1f".join((str(self.seed), *parts)).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56


def user_texts(params: Params) -> Iterator[str]:
    """The text blocks of the user messages, in order."""
    for message in params["messages"]:
        if message["role"] == "user":
            content = message["content"]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            yield from (block["text"] for block in blocks if block["type"] == "text")


@dataclass(frozen=True)
class _Filler:
    """Walks one schema; ``path`` names the property, so that each one draws its own luck."""

    root: dict[str, Any]
    text_sha256: str
    key: AnswerKey
    spoil: Callable[[Any], Any] | None

    def fill(self, schema: dict[str, Any], value: Any, path: str) -> Any:
        schema = self._resolve(schema, value)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            choice = self._choose(schema["enum"], value, path)
            return self.spoil(choice) if self.spoil else choice
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = _kind_of(value) if _kind_of(value) in kind else kind[0]
        if kind == "object":
            given = value if isinstance(value, dict) else {}
            properties = schema.get("properties") or {}
            return {n: self.fill(p, given.get(n, _MISSING), f"{path}.{n}") for n, p in properties.items()}
        if kind == "array":
            items = value if isinstance(value, list) else []
            item_schema = schema.get("items")
            return [self.fill(item_schema, v, f"{path}[{i}]") for i, v in enumerate(items)] if item_schema else items
        return _scalar(str(kind), value)

    def _resolve(self, schema: dict[str, Any], value: Any) -> dict[str, Any]:
        """Follow a local $ref, and take the branch of a union that fits the value."""
        while "$ref" in schema or "anyOf" in schema or "allOf" in schema:
            if "$ref" in schema:
                schema = resolve(self.root, schema["$ref"])
            else:
                branches = schema.get("anyOf") or schema["allOf"]
                schema = next((b for b in branches if b.get("type") == _kind_of(value)), branches[0])
        return schema

    def _choose(self, choices: list[Any], value: Any, path: str) -> Any:
        """The known choice; another one at the error rate; any one when the known value is not a choice."""
        others = [choice for choice in choices if choice != value]
        is_known = len(others) < len(choices)
        if is_known and (not others or self.key.draw("err", self.text_sha256, path) >= self.key.error_rate):
            return value
        return others[int(self.key.draw("which", self.text_sha256, path) * len(others))]


def _kind_of(value: Any) -> str:
    if value is _MISSING:
        return "missing"
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _scalar(kind: str, value: Any) -> Any:
    known = _kind_of(value)
    if kind == known or (kind == "number" and known == "integer"):
        return value
    return {"string": "", "number": 0.0, "integer": 0, "boolean": False}.get(kind)
