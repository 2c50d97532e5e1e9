"""The shape of `vllm serve`: token ids in, exact log-probabilities of the tokens asked for, or JSON by a schema, out.

Answers are those of the engine's stand-in (`infra.local.engine.answers`) to the same token ids, so that a run over HTTP
must bring the rows of one with engines. Strict: fields and bounds are vLLM's, and what else is asked is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from infra.local.engine.answers import Answers
from infra.local.first_tier.service import MODEL, FirstTierService, Refused, Reply, json_reply

_FIELDS: Mapping[str, set[str]] = {
    "/tokenize": {"model", "prompt", "messages", "add_special_tokens", "add_generation_prompt", "chat_template_kwargs"},
    "/detokenize": {"model", "tokens"},
    "/v1/completions": {
        *("model", "prompt", "max_tokens", "temperature", "repetition_penalty"),
        *("logprobs", "logprob_token_ids", "return_tokens_as_token_ids", "structured_outputs"),
    },
}
_MOST_TOKEN_IDS = 128
_DOCUMENT = re.compile(r"<(document|code)>\n(.*?)\n</\1>", re.DOTALL)
_CHARS_PER_TOKEN = 4


class VllmService(FirstTierService):
    """A server with one model, of which there is a tokenizer and a chat template; used by several threads."""

    def __init__(self, weights: Path, *, key: str | None = None, context_tokens: int = 4_096) -> None:
        super().__init__("openai", key=key, context_tokens=context_tokens)
        self._weights = weights
        self._tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
        self._model_answers = Answers(str(weights), None)

    def _about(self, path: str) -> Reply:
        if path == "/v1/models":
            model = {"id": MODEL, "object": "model", "root": str(self._weights), "max_model_len": self._context_tokens}
            return json_reply(200, {"object": "list", "data": [model]})
        if path == "/version":
            return json_reply(200, {"version": "0.32.0"})
        raise Refused(404, f"no route {path}")

    def _asked(self, path: str, asked: Mapping[str, Any]) -> Reply:
        if path not in _FIELDS:
            raise Refused(404, f"no route {path}")
        if strange := sorted(asked.keys() - _FIELDS[path]):
            raise Refused(400, f"extra fields are not permitted: {', '.join(strange)}")
        if asked.get("model") != MODEL:
            raise Refused(404, f"The model '{asked.get('model')}' does not exist")
        if path == "/tokenize":
            return json_reply(200, self._tokens(asked))
        if path == "/detokenize":
            return json_reply(200, {"prompt": self._text(asked["tokens"])})
        return self._completion(asked)

    def _tokens(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        text = asked["prompt"] if "prompt" in asked else self._rendered(asked)
        tokens = self._tokenizer.encode(text, add_special_tokens=False).ids
        return {"count": len(tokens), "max_model_len": self._context_tokens, "tokens": tokens}

    def _rendered(self, asked: Mapping[str, Any]) -> str:
        template = (self._weights / "chat_template.jinja").read_text(encoding="utf-8")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(template).render(
            messages=asked["messages"],
            add_generation_prompt=asked["add_generation_prompt"],
            **asked.get("chat_template_kwargs", {}),
        )

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False))

    def _completion(self, asked: Mapping[str, Any]) -> Reply:
        prompt, ids = asked["prompt"], asked.get("logprob_token_ids") or []
        if len(ids) > _MOST_TOKEN_IDS:
            raise Refused(400, f"logprob_token_ids of length {len(ids)}, max allowed: {_MOST_TOKEN_IDS}")
        if len(prompt) + asked["max_tokens"] > self._context_tokens:
            raise Refused(400, f"the prompt and max_tokens are more than the context of {self._context_tokens} tokens")
        shown = _DOCUMENT.search(self._text(prompt))
        text = shown[2] if shown else ""
        fault = self._take_fault(text)
        if fault and (reply := self._faulty(fault)):
            return reply
        self._processed(text)
        if fault and fault.kind == "break":
            return Reply(200, b"", is_broken=True)
        schema = (asked.get("structured_outputs") or {}).get("json")
        choice: dict[str, Any] = {"index": 0, "text": "", "logprobs": None}
        written = 1
        if schema is not None:
            answer = "Sure!" if fault and fault.kind == "nonsense" else self._model_answers.review(prompt, schema)
            choice["text"] = answer[: asked["max_tokens"] * _CHARS_PER_TOKEN]
            written = len(answer) // _CHARS_PER_TOKEN
        elif not (fault and fault.kind == "no_logprobs"):
            logprobs = self._model_answers.logprobs(prompt, ids)
            told = {f"token_id:{token}": logprob for token, logprob in zip(ids, logprobs, strict=True)}
            choice["logprobs"] = {"top_logprobs": [told]}
        model = "another-model" if fault and fault.kind == "other_model" else MODEL
        content = {"model": model, "system_fingerprint": "vllm-stand-in", "choices": [choice]}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": written, "prompt_tokens_details": None}
        return json_reply(200, content if fault and fault.kind == "no_usage" else content | {"usage": usage})
