"""The local message batches service, seen through the real SDK: what the API promises, and its faults on demand."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch

from tests.infra.message_batches_server import REPOSITORY, Server

pytestmark = pytest.mark.timeout(60)

DAY = 86_400
LABELS = ["billing", "outage", "other"]
TEXTS = [f"ticket number {i}" for i in range(40)]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "confidence"],
    "properties": {"label": {"type": "string", "enum": LABELS}, "confidence": {"type": "number"}},
}
HEADERS = {"x-api-key": "key", "anthropic-version": "2026-10-21"}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answers") / "key.jsonl"
    entries = [
        {"text_sha256": hashlib.sha256(text.encode()).hexdigest(), "answer": {"label": "billing", "confidence": 0.5}}
        for text in TEXTS
    ]
    path.write_text("\n".join(json.dumps(entry) for entry in entries))
    return path


@pytest.fixture(scope="module")
def quick_server(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[Server]:
    options = ("--answer-key", str(key_file), "--error-rate", "0", "--max-body-bytes", "200000")
    with Server(tmp_path_factory.mktemp("quick"), *options) as server:
        yield server


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[Server]:
    """Needs two days for a batch, so that cancelling and expiring come in the middle."""
    options = ("--answer-key", str(key_file), "--error-rate", "0", "--processing-seconds", str(2 * DAY))
    with Server(tmp_path_factory.mktemp("slow"), *options) as server:
        yield server


@pytest.fixture
def server(quick_server: Server) -> Server:
    quick_server.control("reset", {})
    return quick_server


@pytest.fixture
def slow(slow_server: Server) -> Server:
    slow_server.control("reset", {})
    return slow_server


def params(text: str = TEXTS[0], **changes: Any) -> Any:
    """The params of one label request; a change to None takes a field away."""
    whole = {
        "model": "claude-haiku-5-5",
        "max_tokens": 400,
        "system": "Choose a label.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def create(server: Server, count: int = 4, prefix: str = "item", **changes: Any) -> MessageBatch:
    requests: Any = [{"custom_id": f"{prefix}-{i}", "params": params(TEXTS[i], **changes)} for i in range(count)]
    return server.client.messages.batches.create(requests=requests)


def rows(server: Server, batch_id: str) -> dict[str, Any]:
    """The results by custom_id, as plain dicts."""
    server.ended(batch_id)
    return {row.custom_id: row.result.to_dict() for row in server.client.messages.batches.results(batch_id)}


def outcome_of(server: Server, request_params: dict[str, Any]) -> dict[str, Any]:
    """The one row of a batch of one."""
    requests: Any = [{"custom_id": "only", "params": request_params}]
    row: dict[str, Any] = rows(server, server.client.messages.batches.create(requests=requests).id)["only"]
    return row


def text_of(result: dict[str, Any]) -> str:
    return "".join(block["text"] for block in result["message"]["content"] if block["type"] == "text")


# --- the life of a batch ------------------------------------------------------------------------------------------


def test_batch_goes_from_in_progress_to_ended_with_one_row_each(server: Server) -> None:
    batch = create(server, 40)
    assert (batch.processing_status, batch.request_counts.processing, batch.results_url) == ("in_progress", 40, None)
    assert batch.expires_at.timestamp() - batch.created_at.timestamp() == DAY
    ended = server.ended(batch.id)
    assert (ended.request_counts.succeeded, ended.request_counts.processing) == (40, 0)
    assert ended.ended_at is not None
    assert ended.results_url == f"{server.url}/v1/messages/batches/{batch.id}/results"
    order = [row.custom_id for row in server.client.messages.batches.results(batch.id)]
    assert sorted(order) == sorted(f"item-{i}" for i in range(40))
    assert order != [f"item-{i}" for i in range(40)]


def test_results_are_chunked_jsonl_without_a_last_newline(server: Server) -> None:
    url = server.ended(create(server).id).results_url
    assert url is not None
    response = server.http.get(url, headers=HEADERS)
    assert response.headers["content-type"] == "application/x-jsonl"
    assert response.headers["transfer-encoding"] == "chunked"
    assert not response.text.endswith("\n")
    assert len(response.text.split("\n")) == 4


def test_unfinished_batch_has_no_results_and_cannot_be_deleted(slow: Server) -> None:
    batches = slow.client.messages.batches
    batch = create(slow)
    response = slow.http.get(f"/v1/messages/batches/{batch.id}", headers=HEADERS)
    assert response.headers["retry-after"] == "10"
    assert slow.http.get(f"{response.url}/results", headers=HEADERS).status_code == 404
    with pytest.raises(anthropic.AnthropicError):
        batches.results(batch.id)
    with pytest.raises(anthropic.BadRequestError, match="In progress batches cannot be deleted"):
        batches.delete(batch.id)


def test_deleted_batch_is_gone_but_its_bill_stays(server: Server) -> None:
    batch = server.ended(create(server).id)
    assert server.client.messages.batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        server.client.messages.batches.retrieve(batch.id)
    assert server.client.messages.batches.list().data == []
    assert server.control("billing")["total"]["count"] == 4


def test_cancel_half_way_keeps_what_was_done(slow: Server) -> None:
    batch = create(slow)
    slow.control("clock", {"advance_seconds": DAY / 2 + 60})
    canceled = slow.client.messages.batches.cancel(batch.id)
    assert canceled.cancel_initiated_at is not None
    assert sorted(row["type"] for row in rows(slow, batch.id).values()) == ["canceled"] * 3 + ["succeeded"]
    with pytest.raises(anthropic.BadRequestError):
        slow.client.messages.batches.cancel(batch.id)


def test_batch_expires_after_a_day_and_is_archived_after_29(slow: Server) -> None:
    batch = create(slow)
    assert slow.control("clock", {"advance_seconds": DAY + 1})["settled"]
    ended = slow.ended(batch.id)
    assert (ended.request_counts.succeeded, ended.request_counts.expired) == (2, 2)
    assert ended.ended_at == ended.expires_at
    slow.control("clock", {"advance_seconds": 28 * DAY})
    assert slow.client.messages.batches.retrieve(batch.id).archived_at is not None
    with pytest.raises(anthropic.NotFoundError, match="has no available results"):
        slow.client.messages.batches.results(batch.id)


def test_list_is_newest_first_and_walks_both_ways(server: Server) -> None:
    ids = [create(server, 1).id for _ in range(5)][::-1]
    batches = server.client.messages.batches
    assert [batch.id for batch in batches.list(limit=2)] == ids
    page = batches.list(limit=2, after_id=ids[1])
    assert ([batch.id for batch in page.data], page.has_more) == (ids[2:4], True)
    page = batches.list(limit=2, before_id=ids[4])
    assert ([batch.id for batch in page.data], page.has_more) == (ids[2:4], True)
    with pytest.raises(anthropic.BadRequestError):
        batches.list(limit=1001)


def test_other_workspaces_do_not_see_a_batch(server: Server) -> None:
    batch = create(server)
    with (
        anthropic.Anthropic(api_key="another", base_url=server.url, max_retries=0) as other,
        pytest.raises(anthropic.NotFoundError),
    ):
        other.messages.batches.retrieve(batch.id)


# --- what is checked at once, and what only when processed -----------------------------------------------------------


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


# --- answers and usage ---------------------------------------------------------------------------------------------


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


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error", "is_accepted"),
    [
        ("accept_then_drop", anthropic.APIConnectionError, True),
        ("refuse_then_drop", anthropic.APIConnectionError, False),
        ("accept_then_500", anthropic.InternalServerError, True),
        ("accept_then_504", anthropic.GatewayTimeoutError, True),
        ("accept_then_garbled", json.JSONDecodeError, True),
        ("500", anthropic.InternalServerError, False),
        ("503", anthropic.ServiceUnavailableError, False),
        ("529", anthropic.OverloadedError, False),
        ("400_usage_limit", anthropic.BadRequestError, False),
        ("401", anthropic.AuthenticationError, False),
        ("402", anthropic.PaymentRequiredError, False),
        ("403", anthropic.PermissionDeniedError, False),
        ("409", anthropic.ConflictError, False),
        ("429", anthropic.RateLimitError, False),
        ("429_spend_cap", anthropic.EnforcedSpendLimitReachedError, False),
        ("html_413", anthropic.ContentTooLargeError, False),
    ],
)
def test_faults_of_create(server: Server, kind: str, error: type[Exception], is_accepted: bool) -> None:
    server.fault("create", kind)
    with pytest.raises(error):
        create(server)
    assert len(server.client.messages.batches.list().data) == is_accepted
    create(server)
    creates = [entry for entry in server.control("log")["requests"] if entry["method"] == "POST"]
    assert [(entry["fault"], entry["requests"]) for entry in creates] == [(kind, 4), (None, 4)]
    assert (creates[0]["batch_id"] is not None) == is_accepted


def test_rate_limit_says_when_to_come_back_only_if_told(server: Server) -> None:
    server.control("faults", [{"at": "list", "kind": 429, "retry_after": 30}, {"at": "list", "kind": "429"}])
    with pytest.raises(anthropic.RateLimitError) as first:
        server.client.messages.batches.list()
    with pytest.raises(anthropic.RateLimitError) as second:
        server.client.messages.batches.list()
    assert first.value.response.headers["retry-after"] == "30"
    assert "retry-after" not in second.value.response.headers


def test_known_batch_is_not_found_for_two_reads(server: Server) -> None:
    first, second = create(server), create(server, prefix="other")
    server.fault("retrieve", "not_found", times=2, match=2)
    server.fault("results", "not_found", match="other-")
    for _ in range(2):
        assert server.client.messages.batches.retrieve(first.id).id == first.id
        with pytest.raises(anthropic.NotFoundError):
            server.client.messages.batches.retrieve(second.id)
    server.ended(second.id)
    assert len(rows(server, first.id)) == 4
    with pytest.raises(anthropic.NotFoundError):
        server.client.messages.batches.results(second.id)
    assert len(rows(server, second.id)) == 4


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut_content_length", httpx2.RemoteProtocolError),
        ("cut_chunked", httpx2.RemoteProtocolError),
        ("cut_within_line", json.JSONDecodeError),
        ("cut_at_line_end", None),
    ],
)
def test_results_break_off(server: Server, kind: str, error: type[Exception] | None) -> None:
    batch = server.ended(create(server, 10).id)
    server.fault("results", kind)
    seen: list[str] = []
    results = server.client.messages.batches.results(batch.id)
    with nullcontext() if error is None else pytest.raises(error):
        for row in results:
            seen.append(row.custom_id)
    results.close()
    assert len(seen) < 10
    assert error is not None or len(seen) == 5
    assert len(rows(server, batch.id)) == 10


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("refusal", lambda row: row["message"]["stop_reason"] == "refusal" and not row["message"]["content"]),
        ("max_tokens_empty", lambda row: row["message"]["stop_reason"] == "max_tokens" and not text_of(row)),
        ("label_other_case", lambda row: json.loads(text_of(row))["label"] == "BILLING"),
        ("unknown_label", lambda row: json.loads(text_of(row))["label"] not in LABELS),
        ("invalid_json", lambda row: text_of(row).startswith("{") and not text_of(row).endswith("}")),
        ("errored_api_error", lambda row: row["error"]["error"]["type"] == "api_error"),
        ("errored_overloaded", lambda row: row["error"]["error"]["type"] == "overloaded_error"),
        ("errored_invalid_request", lambda row: row["error"]["error"]["type"] == "invalid_request_error"),
    ],
)
def test_row_faults_strike_the_matching_row_once(server: Server, kind: str, check: Any) -> None:
    server.fault("process", kind, match="item-2")
    first, second = rows(server, create(server).id), rows(server, create(server).id)
    assert check(first["item-2"])
    spared = [*second.values(), *(row for name, row in first.items() if name != "item-2")]
    assert all(json.loads(text_of(row))["label"] == "billing" for row in spared)


def test_thinking_block_can_be_forced_on_a_model_that_would_not_think(server: Server) -> None:
    server.fault("process", "thinking_first", match="item-0")
    answers = rows(server, create(server, 2, model="claude-haiku-4-5").id)
    kinds = {name: [block["type"] for block in row["message"]["content"]] for name, row in answers.items()}
    assert kinds == {"item-0": ["thinking", "text"], "item-1": ["text"]}


@pytest.mark.parametrize(("kind", "change"), [("missing_row", -1), ("duplicate_row", 1), ("unknown_row", 1)])
def test_result_rows_can_be_missing_double_or_unknown(server: Server, kind: str, change: int) -> None:
    server.fault("process", kind, match="item-1")
    batch = server.ended(create(server).id)
    ids = [row.custom_id for row in server.client.messages.batches.results(batch.id)]
    assert batch.request_counts.succeeded == 4
    assert len(ids) == 4 + change
    assert server.control("billing")["total"]["count"] == 4


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        ("credit_balance", {"errored": 4}),
        ("expire_part", {"succeeded": 2, "expired": 2}),
        ("cancel_part", {"succeeded": 2, "canceled": 2}),
    ],
)
def test_faults_of_a_whole_batch(server: Server, kind: str, states: dict[str, int]) -> None:
    server.fault("process", kind)
    batch = server.ended(create(server).id)
    counts = batch.request_counts.to_dict()
    assert {state: count for state, count in counts.items() if count} == states
    assert (batch.cancel_initiated_at is not None) == (kind == "cancel_part")
    assert server.control("billing")["total"]["count"] == states.get("succeeded", 0)


def test_delay_runs_into_the_clients_timeout_but_the_batch_exists(server: Server) -> None:
    server.fault("create", "delay", delay_ms=400)
    hasty = server.client.with_options(timeout=0.1)
    with pytest.raises(anthropic.APITimeoutError):
        hasty.messages.batches.create(requests=[{"custom_id": "a", "params": params()}])
    assert len(server.client.messages.batches.list().data) == 1


def test_fault_that_is_not_understood_is_refused(server: Server) -> None:
    for spec in ({"at": "create", "kind": "missing_row"}, {"at": "nowhere", "kind": "500"}, {"at": "list"}):
        assert server.http.post("/_control/faults", json=[spec]).status_code == 400
    assert server.control("faults") == {"faults": []}


# --- crashes and the process itself ---------------------------------------------------------------------------------


def test_a_killed_service_goes_on_from_its_state(tmp_path: Path, key_file: Path) -> None:
    options = ("--answer-key", str(key_file), "--error-rate", "0")
    with Server(tmp_path, *options, "--processing-seconds", "3600") as server:
        waiting = create(server, 40)
        server.fault("retrieve", "503", times=1)
        server.control("clock", {"advance_seconds": 1800})
        server.kill()
    with Server(tmp_path, *options) as server:
        with pytest.raises(anthropic.ServiceUnavailableError):
            server.client.messages.batches.retrieve(waiting.id)
        assert server.client.messages.batches.retrieve(waiting.id).processing_status == "in_progress"
        server.control("clock", {"advance_seconds": 1801})
        assert len(rows(server, waiting.id)) == 40
        bill = server.control("billing")["custom_ids"]
        assert {entry["count"] for entry in bill.values()} == {1}
        assert [entry["method"] for entry in server.control("log")["requests"]].count("POST") == 1


def test_kill_in_the_middle_of_processing_bills_no_row_twice(tmp_path: Path, key_file: Path) -> None:
    options = ("--answer-key", str(key_file), "--error-rate", "0")
    requests: Any = [{"custom_id": f"r-{i}", "params": params(TEXTS[i % 40])} for i in range(3000)]
    with Server(tmp_path, *options) as server:
        server.fault("process", "refusal", times=5)
        batch = server.client.messages.batches.create(requests=requests)
        while not server.control("billing")["total"]["count"]:
            time.sleep(0.005)
        server.kill()
    with Server(tmp_path, *options) as server:
        results = rows(server, batch.id)
        bill = server.control("billing")
    assert len(results) == bill["total"]["count"] == 3000
    assert sum(row["message"]["stop_reason"] == "refusal" for row in results.values()) == 5


def test_sigterm_ends_cleanly_and_a_second_service_is_kept_out(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert json.loads((tmp_path / "endpoint.json").read_text()) == server.ready
        assert server.ready == {"url": server.url, "pid": server.process.pid, "simulation": True}
        command = [sys.executable, "-m", "infra.local.message_batches", "--state", str(tmp_path)]
        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=20)
        assert (second.returncode, second.stdout) == (1, "")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_service_ends_with_its_parent(tmp_path: Path) -> None:
    child = [sys.executable, "-m", "infra.local.message_batches", "--state", str(tmp_path), "--exit-with-parent"]
    parent = f"import subprocess, time; subprocess.Popen({child!r}); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        pid = json.loads(process.stdout.readline())["pid"]
        process.kill()
    deadline = time.monotonic() + 10
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    """Whether the process lives; one that ended but was not yet waited for by its new parent does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
