"""What the local message batches service checks at once, and what only when a request is processed."""

from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.infra.message_batches.label_requests import HEADERS, create, outcome_of, params, rows
from tests.infra.message_batches_server import Server

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]


def test_a_key_and_a_known_version_are_needed(server: Server) -> None:
    url = "/v1/messages/batches"
    version = {"anthropic-version": "2023-06-01"}
    no_key = server.http.get(url, headers=version)
    assert (no_key.status_code, no_key.json()["error"]["type"]) == (401, "authentication_error")
    assert no_key.headers["x-simulation"] == "true"
    assert no_key.headers["request-id"] == no_key.json()["request_id"]
    for key in ({"x-api-key": "key"}, {"authorization": "Bearer key"}):
        assert server.http.get(url, headers=version | key).status_code == 200
    assert server.http.get(url, headers={"x-api-key": "key"}).status_code == 400
    assert server.http.get("/nowhere").json()["type"] == "error"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"requests": [', "not valid JSON"),
        ('{"requests": []} x', "not valid JSON"),
        ("{}", "requests: Field required"),
        ('{"requests": []}', "at least 1 item"),
        ('{"requests": [{"params": {}}]}', "requests.0.custom_id: Field required"),
        ('{"requests": [{"custom_id": "a"}]}', "requests.0.params: Field required"),
        ('{"requests": [{"custom_id": "a b", "params": {}}]}', "should match pattern"),
        ('{"requests": [{"custom_id": "%s", "params": {}}]}' % ("a" * 65), "should match pattern"),
        ('{"requests": [{"custom_id": "a", "params": 3}]}', "requests.0.params"),
        (
            '{"requests": [{"custom_id": "a", "params": {}}, {"custom_id": "a", "params": {}}]}',
            "must be unique within a batch. Duplicate custom_id found: a",
        ),
    ],
)
def test_bad_create_is_refused_at_once_and_stores_nothing(server: Server, body: str, message: str) -> None:
    response = server.http.post("/v1/messages/batches", content=body, headers=HEADERS)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]
    assert server.client.messages.batches.list().data == []


def test_body_above_the_limit_is_refused(server: Server) -> None:
    with pytest.raises(anthropic.ContentTooLargeError):
        create(server, 1, system="x" * 200_000)


def test_a_request_larger_than_the_reading_window_is_taken(tmp_path: Path, key_file: Path) -> None:
    with Server(tmp_path, "--answer-key", str(key_file)) as server:
        assert outcome_of(server, params(system="é" * 1_500_000))["type"] == "succeeded"


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"model": None}, "invalid_request_error", "model: Field required"),
        ({"model": "claude-none"}, "not_found_error", "model: claude-none"),
        ({"messages": None}, "invalid_request_error", "messages: Field required"),
        ({"max_tokens": None}, "invalid_request_error", "max_tokens: Field required"),
        ({"max_tokens": 0}, "invalid_request_error", "greater than or equal to 1"),
        ({"max_tokens": 10**6}, "invalid_request_error", "maximum allowed number"),
        ({"stream": True}, "invalid_request_error", "stream"),
        ({"speed": "fast"}, "invalid_request_error", "speed"),
        ({"temperature": 1.0}, "invalid_request_error", "temperature"),
        ({"output_format": {}}, "invalid_request_error", "Extra inputs"),
        ({"inference_geo": "eu"}, "invalid_request_error", "inference_geo"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "invalid_request_error", "thinking"),
        ({"model": "claude-haiku-4-5", "thinking": {"type": "adaptive"}}, "invalid_request_error", "thinking"),
        ({"model": "claude-sonnet-5-5", "thinking": {"type": "disabled"}}, "invalid_request_error", "thinking"),
        ({"model": "claude-sonnet-5-5", "tool_choice": {"type": "any"}}, "invalid_request_error", "tool_choice"),
        ({"messages": [{"role": "assistant", "content": "{"}]}, "invalid_request_error", "prefill"),
        ({"messages": [{"role": "user", "content": "unheard of"}]}, "not_found_error", "answer key has 40 entries"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "invalid_request_error",
            "additionalProperties",
        ),
    ],
)
def test_params_are_judged_when_processed(server: Server, changes: Any, kind: str, message: str) -> None:
    row = outcome_of(server, params(**changes))
    assert (row["type"], row["error"]["type"]) == ("errored", "error")
    assert row["error"]["error"]["type"] == kind
    assert message in row["error"]["error"]["message"]
    assert server.control("billing")["total"] == {"count": 0}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": False, "properties": 3},
        {"type": "object", "additionalProperties": False, "properties": {"a": {"$ref": "#/$defs/none"}}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}}},
        {"type": "array", "items": {"type": "string", "maxLength": 3}},
        {"type": []},
        {"enum": []},
        {"anyOf": [3]},
    ],
)
def test_schema_that_would_not_compile_is_an_errored_row(server: Server, schema: dict[str, Any]) -> None:
    config = {"format": {"type": "json_schema", "schema": schema}}
    row = outcome_of(server, params(output_config=config))
    assert row["error"]["error"]["message"].startswith("output_config.format.schema: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
        {"messages": 5},
        {"messages": [5]},
        {"system": 5},
        {"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "2h"}}]},
        {"cache_control": "always"},
        {"thinking": {"type": []}},
        {"output_config": 5},
        {"output_config": {"effort": []}},
        {"max_tokens": "5"},
    ],
)
def test_values_of_the_wrong_kind_are_errored_rows(server: Server, changes: dict[str, Any]) -> None:
    assert outcome_of(server, params(**changes))["error"]["error"]["type"] == "invalid_request_error"


def test_sampling_parameters_pass_under_the_old_version(server: Server) -> None:
    old = server.client.with_options(default_headers={"anthropic-version": "2023-06-01"})
    requests: Any = [{"custom_id": "only", "params": params(temperature=0.0)}]
    assert rows(server, old.messages.batches.create(requests=requests).id)["only"]["type"] == "succeeded"
