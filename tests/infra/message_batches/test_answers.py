"""The answers of the local message batches service, and the usage it bills for them."""

import json
from pathlib import Path

import anthropic
import pytest

from tests.infra.message_batches.label_requests import LABELS, create, outcome_of, params, rows, text_of
from tests.infra.message_batches_server import Server

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]


def test_answer_obeys_the_schema_and_comes_after_thinking(server: Server) -> None:
    message = outcome_of(server, params())["message"]
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert json.loads(message["content"][1]["text"]) == {"label": "billing", "confidence": 0.5}
    assert (message["stop_reason"], message["usage"]["service_tier"]) == ("end_turn", "batch")
    assert message["usage"]["output_tokens"] > message["usage"]["output_tokens_details"]["thinking_tokens"] > 0


def test_schema_properties_without_an_answer_are_filled_by_type(server: Server) -> None:
    properties = {
        "label": {"anyOf": [{"$ref": "#/$defs/Label"}, {"type": "null"}]},
        "reason": {"type": "string"},
        "count": {"type": "integer"},
        "sure": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
    }
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    schema["$defs"] = {"Label": {"type": "string", "enum": LABELS}}
    config = {"format": {"type": "json_schema", "schema": schema}}
    answer = json.loads(text_of(outcome_of(server, params(output_config=config))))
    assert answer == {"label": "billing", "reason": "", "count": 0, "sure": False, "tags": []}
    assert json.loads(text_of(outcome_of(server, params(output_config=None)))) == {
        "label": "billing",
        "confidence": 0.5,
    }


def test_some_documents_are_always_answered_wrongly(tmp_path: Path, key_file: Path) -> None:
    with Server(tmp_path, "--answer-key", str(key_file), "--error-rate", "0.3", "--seed", "7") as server:
        first, second = (
            {custom_id: json.loads(text_of(row))["label"] for custom_id, row in rows(server, batch.id).items()}
            for batch in (create(server, 40), create(server, 40))
        )
    assert first == second
    assert set(first.values()) <= set(LABELS)
    assert 3 <= sum(label != "billing" for label in first.values()) <= 22


def test_a_long_marked_prefix_is_written_once_then_read(server: Server) -> None:
    system = [{"type": "text", "text": "x" * 21_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    usages = [row["message"]["usage"] for row in rows(server, create(server, 3, system=system).id).values()]
    assert sorted(usage["cache_read_input_tokens"] for usage in usages) == [0, 6000, 6000]
    assert sorted(usage["cache_creation"]["ephemeral_1h_input_tokens"] for usage in usages) == [0, 0, 6000]
    assert all(usage["input_tokens"] < 20 for usage in usages)
    assert server.control("billing")["total"]["cache_read_input_tokens"] == 12_000


def test_small_max_tokens_leaves_thinking_and_no_text(server: Server) -> None:
    message = outcome_of(server, params(max_tokens=20))["message"]
    assert [block["type"] for block in message["content"]] == ["thinking"]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 20)


def test_single_message_token_count_and_models(server: Server) -> None:
    client = server.client
    message = client.messages.create(**params(model="claude-haiku-4-5"))
    assert (message.model, message.usage.service_tier) == ("claude-haiku-4-5-20251001", "standard")
    count = client.messages.count_tokens(model="claude-haiku-5-5", messages=[{"role": "user", "content": "x" * 700}])
    assert count.input_tokens == 200
    with pytest.raises(anthropic.BadRequestError, match="top_k"):
        client.messages.create(**params(), extra_body={"top_k": 1})
    assert {model.lifecycle for model in client.models.list()} == {"active", "deprecated"}
    sonnet = client.models.retrieve("claude-sonnet-5-5")
    assert sonnet.capabilities is not None
    assert sonnet.capabilities.thinking.types.between_tools.supported
    assert not sonnet.capabilities.thinking.types.disabled.supported
