"""What the API checks when a request is processed, not when its batch is created.

Every refusal here reaches a batch as an ``errored`` row and a direct ``POST /v1/messages`` as an HTTP error.
"""

from collections.abc import Mapping
from typing import Any

from infra.local.message_batches.simulated_model.catalogue import EFFORTS, Model, find_model
from infra.local.message_batches.simulated_model.schema_rules import schema_refusal

Params = Mapping[str, Any]
MAX_CACHE_MARKS = 4
STRICT_VERSION = "2026-10-21"  # from this API version on, sampling parameters are refused even at their defaults

_SAMPLING = ("temperature", "top_p", "top_k")
_BATCH_REFUSED = ("speed", "store", "previous_thread_event_id", "cache_hint", "context_hint")
_KNOWN = frozenset(
    {"model", "max_tokens", "messages", "system", "output_config", "thinking", "cache_control", "stop_sequences"}
    | {"metadata", "inference_geo", "service_tier", "stream", "tool_choice", "tools", "user_profile_id", "workspace_id"}
    | {"billing_policy", "compaction", "container", "context_management", "diagnostics", "fallback_credit_token"}
    | {"fallbacks", "mcp_servers", "thread", *_SAMPLING, *_BATCH_REFUSED}
)


class RequestRefusedError(Exception):
    """The params of one request are not acceptable; ``type`` is the API's error type."""

    def __init__(self, message: str, type: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.message = message
        self.type = type


def check_params(params: Params, version: str) -> Model:
    """Return the request's model, or raise the first refusal found."""
    model = _known_model(params)
    for check in _CHECKS:
        refusal = check(params, model)
        if refusal is not None:
            raise RequestRefusedError(refusal)
    if version >= STRICT_VERSION:
        refusal = _version_refusal(params)
        if refusal is not None:
            raise RequestRefusedError(refusal)
    return model


def check_prompt(params: Params) -> None:
    """Raise unless the model is known and the prompt is readable: all that counting its tokens needs."""
    model = _known_model(params)
    refusal = _check_messages(params, model) or _check_system_and_cache(params, model)
    if refusal is not None:
        raise RequestRefusedError(refusal)


def _known_model(params: Params) -> Model:
    if "model" not in params:
        raise RequestRefusedError("model: Field required")
    model = find_model(params["model"])
    if model is None:
        raise RequestRefusedError(f"model: {params['model']}", "not_found_error")
    return model


def _check_names(params: Params, _model: Model) -> str | None:
    if params.get("stream"):
        return "stream: Streaming is not supported in batch requests"
    for name in _BATCH_REFUSED:
        if params.get(name) is not None:
            return f"{name}: not supported in batch requests"
    if params.get("tools"):
        return "simulation: tools are outside what this stand-in can answer"
    return next((f"{name}: Extra inputs are not permitted" for name in params if name not in _KNOWN), None)


def _check_messages(params: Params, _model: Model) -> str | None:
    messages = params.get("messages")
    if messages is None:
        return "messages: Field required"
    if not isinstance(messages, list):
        return "messages: Input should be a valid list"
    if not messages:
        return "messages: at least one message is required"
    return next((text for i, m in enumerate(messages) if (text := _message_refusal(i, m))), None)


def _message_refusal(index: int, message: object) -> str | None:
    if not isinstance(message, dict):
        return f"messages.{index}: Input should be an object"
    if message.get("role") not in ("user", "assistant"):
        return f"messages.{index}.role: Input should be 'user' or 'assistant'"
    content = message.get("content")
    if isinstance(content, str):
        return None if content.strip() else f"messages.{index}: text content blocks must be non-empty"
    if not isinstance(content, list) or not content:
        return f"messages.{index}.content: Field required"
    for block in content:
        if not isinstance(block, dict) or "type" not in block:
            return f"messages.{index}.content: each block needs a type"
        if block["type"] == "text" and not _is_full_text(block.get("text")):
            return f"messages.{index}: text content blocks must be non-empty"
    return None


def _is_full_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_system_and_cache(params: Params, _model: Model) -> str | None:
    system = params.get("system")
    blocks = system if isinstance(system, list) else []
    if not isinstance(system, str | list | None):
        return "system: Input should be a string or a list of text blocks"
    if not all(isinstance(block, dict) and _is_full_text(block.get("text")) for block in blocks):
        return "system: text content blocks must be non-empty"
    for message in params["messages"]:
        blocks = blocks + (message["content"] if isinstance(message["content"], list) else [])
    marks = [mark for holder in (*blocks, params) if (mark := holder.get("cache_control")) is not None]
    if len(marks) > MAX_CACHE_MARKS:
        return f"A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. Found {len(marks)}."
    for mark in marks:
        if not isinstance(mark, dict) or mark.get("type") != "ephemeral" or mark.get("ttl", "5m") not in ("5m", "1h"):
            return "cache_control: Input should be {'type': 'ephemeral', 'ttl': '5m' or '1h'}"
    return None


def _check_max_tokens(params: Params, model: Model) -> str | None:
    value = params.get("max_tokens")
    if value is None:
        return "max_tokens: Field required"
    if not isinstance(value, int) or isinstance(value, bool):
        return "max_tokens: Input should be a valid integer"
    if value < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    if value > model.max_tokens:
        limit = f"the maximum allowed number of output tokens for {model.id}"
        return f"max_tokens: {value} > {model.max_tokens}, which is {limit}"
    return None


def _check_thinking(params: Params, model: Model) -> str | None:
    thinking = params.get("thinking")
    if thinking is None:
        return None
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if not isinstance(kind, str) or kind not in model.thinking:
        return f"thinking.type: {kind!r} is not supported by {model.id}; it takes {sorted(model.thinking)}"
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < 1024:
            return "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        if budget >= params["max_tokens"]:
            return "max_tokens must be greater than thinking.budget_tokens"
    elif "budget_tokens" in thinking:
        return f"thinking.{kind}.budget_tokens: Extra inputs are not permitted"
    if kind == "between_tools" and effort_of(params, model) in ("xhigh", "max"):
        return "thinking.type: 'between_tools' is taken at effort high or below"
    return None


def _check_model_rules(params: Params, model: Model) -> str | None:
    if params["messages"][-1]["role"] == "assistant" and not model.prefill:
        return f"messages: prefilling assistant messages is not supported by {model.id}"
    choice = params.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("any", "tool") and not model.forced_tools:
        return f"tool_choice: forcing tool use is not supported by {model.id}"
    geo = params.get("inference_geo")
    if geo is not None and not model.takes_geo:
        return f"inference_geo: not supported by {model.id}"
    if geo not in (None, "us", "global"):
        return "inference_geo: Input should be 'us' or 'global'"
    if params.get("service_tier") not in (None, "auto", "standard_only"):
        return "service_tier: Input should be 'auto' or 'standard_only'"
    return None


def _check_output(params: Params, model: Model) -> str | None:
    config = params.get("output_config")
    if config is None:
        return None
    if not isinstance(config, dict):
        return "output_config: Input should be an object"
    effort = config.get("effort")
    if effort is not None and not (model.takes_effort and effort in EFFORTS):
        return f"output_config.effort: {effort!r} is not supported by {model.id}"
    form = config.get("format")
    if form is None:
        return None
    if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        return "output_config.format: Input should be {'type': 'json_schema', 'schema': {...}}"
    if params["messages"][-1]["role"] == "assistant":
        return "output_config.format: not supported together with a prefilled assistant message"
    return schema_refusal(form["schema"])


def _version_refusal(params: Params) -> str | None:
    for name in _SAMPLING:
        if name in params:
            return f"{name}: not supported from API version {STRICT_VERSION} on"
    for index, message in enumerate(params["messages"]):
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in blocks:
            if message["role"] == "assistant" and block["type"] == "document":
                return f"messages.{index}: document blocks are not supported in assistant messages"
            if message["role"] == "user" and block["type"] == "text" and block.get("citations"):
                return f"messages.{index}: citations are not supported on user text blocks"
    return None


def effort_of(params: Params, model: Model) -> str:
    """The effort asked for, or the model's own."""
    config = params.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    return effort if effort in EFFORTS else model.default_effort


_CHECKS = (
    _check_names,
    _check_messages,
    _check_system_and_cache,
    _check_max_tokens,
    _check_thinking,
    _check_model_rules,
    _check_output,
)
