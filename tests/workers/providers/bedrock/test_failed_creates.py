"""Bedrock jobs that are not created: what is refused before anything is sent, and what a failed create means."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from pipelines.errors import JobError, ProviderError
from pipelines.escalation.provider import OutcomeUnknownError, RefusedError
from tests.workers.providers.bedrock.aws_stub import REQUESTS, ROLE, SETTINGS, SUBMITTED_AT, TOKEN, Aws, reply, request
from workers.providers.bedrock import BedrockBatches
from workers.providers.bedrock_account import BedrockSettings, connect

# Refused before anything is sent


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minimum_records": 100}, r"3 items are too few .* 100 or more .* go to review\..* set minimum_records"),
        ({"maximum_records": 2, "minimum_records": 1}, r"3 items are too many .* lower escalation.chunk_items to 2"),
        ({"maximum_file_bytes": 100}, r"the limit is 100; lower escalation.chunk_items"),
        ({"model_ids": {"claude-opus-5-5": "x"}}, r"no Bedrock model is configured for 'claude-haiku-5-5'; add"),
    ],
)
def test_limits_are_refused_without_a_call(aws: Aws, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        aws.provider(**settings).create(REQUESTS, TOKEN)


def test_the_default_minimum_is_bedrocks_usual_one() -> None:
    settings = BedrockSettings("eu-central-1", ROLE, "s3://acme-batches/sluice", {})
    assert (settings.minimum_records, settings.maximum_records) == (100, 50_000)


def test_two_models_are_two_jobs(aws: Aws) -> None:
    with pytest.raises(RefusedError, match="one batch per model"):
        aws.provider().create([*REQUESTS, request("r-00000-d", model="claude-opus-5-5")], TOKEN)


def test_a_failed_upload_creates_no_job(aws: Aws) -> None:
    aws.expect_no_earlier_job()
    aws.s3.add_client_error("put_object", "AccessDenied", "Access Denied", 403)
    with pytest.raises(RefusedError, match=r"cannot write s3://acme-batches/.*s3:PutObject"):
        aws.provider().create(REQUESTS, TOKEN)


def test_an_upload_that_outlasts_the_settling_time_creates_no_job(aws: Aws) -> None:
    aws.expect_no_earlier_job()
    aws.expect_upload()
    times = iter([0.0, 601.0])
    provider = BedrockBatches(aws.clients, SETTINGS, clock=lambda: next(times))
    with pytest.raises(RefusedError, match="no job was created"):
        provider.create(REQUESTS, TOKEN)


def test_settings_name_every_problem() -> None:
    with pytest.raises(JobError) as caught:
        BedrockSettings("eu-central-1", "batch", "acme-batches/x y", {}, minimum_records=0, timeout_hours=200)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "s3_prefix",
        "role_arn",
        "minimum_records",
        "timeout_hours",
    ]


# What a failed create means


@pytest.mark.parametrize(
    ("code", "status", "next_move"),
    [
        ("ValidationException", 400, "check model id, role and bucket"),
        ("AccessDeniedException", 403, "iam:PassRole"),
        ("ResourceNotFoundException", 404, "inference profile"),
        ("ThrottlingException", 429, "again later"),
        ("ThrottlingException", 503, "again later"),
        ("ServiceQuotaExceededException", 400, "Service Quotas"),
        ("ExpiredTokenException", 403, "sign in"),
        ("SomethingNewException", 400, "its words"),
    ],
)
def test_refusals_say_what_to_do(aws: Aws, code: str, status: int, next_move: str) -> None:
    aws.expect_no_earlier_job()
    aws.expect_upload()
    aws.once.add_client_error("create_model_invocation_job", code, "its words", status)
    with pytest.raises(RefusedError, match=f"Bedrock refused the job: {code}: its words") as caught:
        aws.provider().create(REQUESTS, TOKEN)
    assert next_move in str(caught.value)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InternalServerException", 500),
        ("ServiceUnavailable", 503),
        ("ConflictException", 400),
        ("RequestTimeout", 408),
        ("", 504),
    ],
)
def test_doubtful_answers_are_unknown_outcomes(aws: Aws, code: str, status: int) -> None:
    aws.expect_no_earlier_job()
    aws.expect_upload()
    aws.once.add_client_error("create_model_invocation_job", code, "its words", status)
    with pytest.raises(OutcomeUnknownError):
        aws.provider().create(REQUESTS, TOKEN)


def test_without_the_list_an_earlier_call_is_in_doubt(aws: Aws) -> None:
    aws.bedrock.add_client_error("list_model_invocation_jobs", "AccessDeniedException", "no", 403)
    with pytest.raises(OutcomeUnknownError, match="cannot look for an earlier job"):
        aws.provider().create(REQUESTS, TOKEN)
    aws.bedrock.add_client_error("list_model_invocation_jobs", "AccessDeniedException", "no", 403)
    with pytest.raises(ProviderError, match="cannot list the batch inference jobs"):
        aws.provider().list_since(SUBMITTED_AT)


def breaking_off(error: Exception) -> Callable[..., AWSResponse]:
    def send(**_: Any) -> AWSResponse:
        raise error

    return send


@pytest.mark.parametrize(
    ("on_the_wire", "expected"),
    [
        (breaking_off(EndpointConnectionError(endpoint_url="https://bedrock")), OutcomeUnknownError),
        (breaking_off(ReadTimeoutError(endpoint_url="https://bedrock")), OutcomeUnknownError),
        (reply(500, b'{"message": "sorry"}'), OutcomeUnknownError),
        (reply(502, b"<html>bad gateway</html>"), OutcomeUnknownError),
        (reply(200, b"<html>a proxy's page</html>"), OutcomeUnknownError),
        (reply(200, b"{}"), OutcomeUnknownError),
        (reply(200, b"null"), OutcomeUnknownError),
        (reply(400, b"[]"), OutcomeUnknownError),
        (reply(503, b"\xff"), OutcomeUnknownError),
        (breaking_off(NoCredentialsError()), RefusedError),
    ],
)
def test_create_is_sent_once_whatever_comes_back(
    monkeypatch: pytest.MonkeyPatch,
    aws: Aws,
    on_the_wire: Callable[..., AWSResponse],
    expected: type[ProviderError],
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    clients = connect("eu-central-1")
    posts = []

    def send(**call: Any) -> AWSResponse:
        posts.append(call["request"].url)
        return on_the_wire(**call)

    clients.bedrock_once.meta.events.register("before-send.bedrock.CreateModelInvocationJob", send)
    aws.expect_no_earlier_job()
    aws.expect_upload()
    stubbed = replace(aws.clients, bedrock_once=clients.bedrock_once)
    with pytest.raises(expected):
        BedrockBatches(stubbed, SETTINGS).create(REQUESTS, TOKEN)
    assert posts == ["https://bedrock.eu-central-1.amazonaws.com/model-invocation-job"]
    assert clients.bedrock.meta.config.retries["total_max_attempts"] > 1  # reading may be repeated
