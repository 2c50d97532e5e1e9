"""Faults of the local message batches service on demand, seen through the real SDK."""

import json
from contextlib import nullcontext
from typing import Any

import anthropic
import httpx2
import pytest

from tests.infra.message_batches.label_requests import LABELS, create, params, rows, text_of
from tests.infra.message_batches_server import Server

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]


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
