"""The lines of a Bedrock job's files: a request going in, an answer or an error coming out."""

import json
from typing import Any

import pytest

from pipelines.costs.price_book import TokenUsage
from pipelines.escalation.provider import ItemResult
from tests.workers.providers.bedrock.aws_stub import answer, jsonl, request
from workers.providers.bedrock_records import input_lines, item_results


def test_a_record_is_the_request_in_bedrocks_form() -> None:
    lines = input_lines([request("r-00000-a", text="Zahlung überfällig\u2028x")]).splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0]) == {
        "recordId": "r-00000-a",
        "modelInput": {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 64,
            "system": "Sort it.",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Zahlung überfällig\u2028x"}]}],
            "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        },
    }


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        (
            {"error": {"errorCode": 400, "errorMessage": "x" * 900}},
            "invalid_request_error",
            "x" * 300 + "…",
        ),
        ({"error": {"errorCode": "429", "errorMessage": "slow down"}}, "rate_limit_error", "slow down"),
        ({"error": {"errorCode": 500, "errorMessage": "oops"}}, "api_error", "oops"),
        ({"error": {"errorCode": "ModelError", "errorMessage": "oops"}}, "unknown_error", "oops"),
        ({"modelOutput": {"error": {"type": "overloaded_error", "message": "busy"}}}, "overloaded_error", "busy"),
        ({"modelOutput": None}, "api_error", "Bedrock's output line holds neither an answer nor an error"),
    ],
)
def test_failed_records(line: dict[str, Any], error: str, message: str) -> None:
    (row,) = item_results([jsonl({"recordId": "a"} | line)])
    assert row == ItemResult("a", "errored", error_type=error, error_message=message)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({"input_tokens": 5}, None),
        (
            {
                "input_tokens": 5,
                "output_tokens": 1,
                "cache_creation_input_tokens": 9,
                "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 7},
                "cache_read_input_tokens": None,
            },
            TokenUsage(5, 2, 7, 0, 1),
        ),
    ],
)
def test_usage_is_whole_or_missing(usage: dict[str, Any] | None, expected: TokenUsage | None) -> None:
    (row,) = item_results([jsonl(answer("a", usage=usage))])
    assert row.usage == expected
