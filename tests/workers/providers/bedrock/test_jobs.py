"""The life of a Bedrock batch inference job: created once, found again, listed, watched, stopped."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.costs.price_book import TokenUsage
from pipelines.errors import ProviderError
from pipelines.escalation.provider import BatchStatus, ItemResult
from tests.workers.providers.bedrock.aws_stub import (
    ARN,
    CREATE,
    MODEL,
    NAME,
    REQUESTS,
    SUBMITTED_AT,
    TOKEN,
    Aws,
    answer,
    job,
)
from workers.providers.bedrock_account import Clients


def test_a_job_from_create_to_results(aws: Aws) -> None:
    aws.expect_no_earlier_job()
    aws.expect_upload()
    aws.once.add_response("create_model_invocation_job", {"jobArn": ARN}, CREATE)
    provider = aws.provider()
    assert provider.create(REQUESTS, TOKEN) == ARN

    # Bedrock knows the number of records only after validation; the job's name knows it at once.
    aws.expect_job("Validating", totalRecordCount=0, processedRecordCount=0)
    assert provider.retrieve(ARN) == BatchStatus(ARN, SUBMITTED_AT, is_ended=False, requests=3, finished_requests=0)
    aws.expect_job("InProgress", totalRecordCount=3, processedRecordCount=2)
    assert provider.retrieve(ARN) == BatchStatus(ARN, SUBMITTED_AT, is_ended=False, requests=3, finished_requests=2)

    aws.expect_job("Completed", successRecordCount=2, errorRecordCount=1)
    thinking_first = [{"type": "thinking", "thinking": ""}, {"type": "text", "text": '{"label":"outage"}'}]
    cached = {"input_tokens": 5, "output_tokens": 9, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 200}
    aws.expect_output(
        {"recordId": "r-00000-c", "modelInput": {}, "error": {"errorCode": 400, "errorMessage": "bad\n request"}},
        answer("r-00000-b", content=thinking_first, usage=cached),
        answer("r-00000-a"),
    )
    assert list(provider.results(ARN)) == [
        ItemResult("r-00000-c", "errored", error_type="invalid_request_error", error_message="bad request"),
        ItemResult(
            "r-00000-b", "succeeded", '{"label":"outage"}', "end_turn", MODEL, usage=TokenUsage(5, 30, 0, 200, 9)
        ),
        ItemResult(
            "r-00000-a", "succeeded", '{"label": "billing"}', "end_turn", MODEL, usage=TokenUsage(40, 0, 0, 0, 7)
        ),
    ]


def test_what_is_sent_fits_awss_own_patterns(three_clients: Clients) -> None:
    """botocore checks lengths only; the service refuses what does not fit its patterns."""

    def strings(shape: Any, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from strings(shape.members[name], inner)
        elif "pattern" in shape.metadata:
            yield shape.metadata["pattern"], value

    sent = CREATE | {"jobName": f"sluice-{TOKEN}-50000"}
    shape = three_clients.bedrock.meta.service_model.operation_model("CreateModelInvocationJob").input_shape
    checked = list(strings(shape, sent))
    assert len(checked) == 6
    assert [value for pattern, value in checked if not re.fullmatch(pattern, value)] == []
    assert len(sent["jobName"]) <= 63


def test_the_same_token_again_finds_the_job_and_uploads_nothing(aws: Aws) -> None:
    other = job("Completed", jobName=NAME + "0", jobArn=ARN[:-1] + "9")  # 30 records, not 3
    first = {"invocationJobSummaries": [other], "nextToken": "more"}
    aws.bedrock.add_response("list_model_invocation_jobs", first, {"nameContains": NAME})
    second = {"invocationJobSummaries": [job("Failed")]}
    aws.bedrock.add_response("list_model_invocation_jobs", second, {"nameContains": NAME, "nextToken": "more"})
    assert aws.provider().create(REQUESTS, TOKEN) == ARN


def test_jobs_are_listed_over_pages_and_strangers_left_out(aws: Aws) -> None:
    since = datetime(2026, 11, 22, 11, tzinfo=UTC)
    wanted = {"submitTimeAfter": since, "nameContains": "sluice"}
    stranger = job("Completed", jobName="sluice-nightly", totalRecordCount=3)
    first = {"invocationJobSummaries": [job("Submitted"), stranger], "nextToken": "more"}
    aws.bedrock.add_response("list_model_invocation_jobs", first, wanted)
    second = {"invocationJobSummaries": [job("Expired", jobArn=ARN[:-1] + "2")]}
    aws.bedrock.add_response("list_model_invocation_jobs", second, wanted | {"nextToken": "more"})
    assert aws.provider().list_since(since) == [
        BatchStatus(ARN, SUBMITTED_AT, is_ended=False, requests=3, finished_requests=0),
        BatchStatus(ARN[:-1] + "2", SUBMITTED_AT, is_ended=True, requests=3, finished_requests=3),
    ]


@pytest.mark.parametrize(
    ("status", "is_ended"),
    [
        *[(name, False) for name in ("Submitted", "Validating", "Scheduled", "InProgress", "Stopping")],
        *[(name, True) for name in ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")],
    ],
)
def test_every_state_is_open_or_ended(aws: Aws, status: str, is_ended: bool) -> None:
    aws.expect_job(status)
    assert aws.provider().retrieve(ARN).is_ended is is_ended


def test_cancel_stops_the_job(aws: Aws) -> None:
    aws.bedrock.add_response("stop_model_invocation_job", {}, {"jobIdentifier": ARN})
    aws.provider().cancel(ARN)
    aws.bedrock.add_client_error("stop_model_invocation_job", "ConflictException", "ended", 409)
    aws.provider().cancel(ARN)  # it has ended already
    aws.bedrock.add_client_error("stop_model_invocation_job", "ResourceNotFoundException", "no such job", 404)
    with pytest.raises(ProviderError, match=r"cannot stop .* the job and the region"):
        aws.provider().cancel(ARN)
