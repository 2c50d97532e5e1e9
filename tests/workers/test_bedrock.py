"""Bedrock batch inference jobs: boto3 is real, AWS is a stub of recorded answers. No network."""

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from pipelines.costs.price_book import TokenUsage
from pipelines.errors import JobError, ProviderError
from pipelines.escalation.provider import BatchStatus, ItemResult, OutcomeUnknownError, RefusedError, Request
from workers.bedrock import BedrockBatches
from workers.bedrock_account import BedrockSettings, Clients, connect
from workers.bedrock_records import input_lines, item_results

TOKEN = "0123456789abcdef0123456789abcdef"
NAME = f"sluice-{TOKEN}-3"
ARN = "arn:aws:bedrock:eu-central-1:123456789012:model-invocation-job/abcdefghij01"
ROLE = "arn:aws:iam::123456789012:role/batch"
MODEL = "claude-haiku-5-5"
BEDROCK_MODEL = "eu.anthropic.claude-haiku-5-5-v1:0"
FOLDER = f"sluice/exchange/{TOKEN}"
INPUT_URI = f"s3://acme-batches/{FOLDER}/input.jsonl"
OUTPUT_URI = f"s3://acme-batches/{FOLDER}/output/"
OUTPUT_KEY = f"{FOLDER}/output/abcdefghij01/input.jsonl.out"
SUBMITTED_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
SETTINGS = BedrockSettings(
    region="eu-central-1",
    role_arn=ROLE,
    s3_prefix="s3://acme-batches/sluice/exchange/",
    model_ids={MODEL: BEDROCK_MODEL},
    minimum_records=3,
)
CREATE = {
    "jobName": NAME,
    "clientRequestToken": TOKEN,
    "roleArn": ROLE,
    "modelId": BEDROCK_MODEL,
    "inputDataConfig": {"s3InputDataConfig": {"s3InputFormat": "JSONL", "s3Uri": INPUT_URI}},
    "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": OUTPUT_URI}},
    "timeoutDurationInHours": 24,
}


def request(custom_id: str, text: str = "where is my invoice?", model: str = MODEL) -> Request:
    params = {
        "model": model,
        "max_tokens": 64,
        "system": "Sort it.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    }
    return {"custom_id": custom_id, "params": params}


REQUESTS = [request("r-00000-a"), request("r-00000-b"), request("r-00000-c")]


def answer(custom_id: str, label: str = "billing", **message: Any) -> dict[str, Any]:
    output = {
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": json.dumps({"label": label})}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 40, "output_tokens": 7},
    }
    return {"recordId": custom_id, "modelInput": {}, "modelOutput": output | message}


def job(status: str, **members: Any) -> dict[str, Any]:
    return {
        "jobArn": ARN,
        "jobName": NAME,
        "modelId": BEDROCK_MODEL,
        "roleArn": ROLE,
        "status": status,
        "submitTime": SUBMITTED_AT,
        "inputDataConfig": {"s3InputDataConfig": {"s3InputFormat": "JSONL", "s3Uri": INPUT_URI}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": OUTPUT_URI}},
    } | members


def body(data: bytes, length: int | None = None) -> StreamingBody:
    return StreamingBody(io.BytesIO(data), len(data) if length is None else length)


def jsonl(*records: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(record) for record in records).encode()  # no newline after the last


def real_client(service: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, region_name="eu-central-1", **keys)


@pytest.fixture(scope="module")
def three_clients() -> Clients:
    return Clients(bedrock=real_client("bedrock"), bedrock_once=real_client("bedrock"), s3=real_client("s3"))


@dataclass
class Aws:
    """What AWS will be asked, in order per client, and what it answers."""

    clients: Clients
    bedrock: Stubber
    once: Stubber
    s3: Stubber

    def provider(self, **settings: Any) -> BedrockBatches:
        return BedrockBatches(self.clients, replace(SETTINGS, **settings))

    def expect_no_earlier_job(self) -> None:
        self.bedrock.add_response("list_model_invocation_jobs", {"invocationJobSummaries": []}, {"nameContains": NAME})

    def expect_upload(self) -> None:
        wanted = {
            "Bucket": "acme-batches",
            "Key": f"{FOLDER}/input.jsonl",
            "Body": input_lines(REQUESTS),
            "ContentType": "application/jsonl",
        }
        self.s3.add_response("put_object", {}, wanted)

    def expect_job(self, status: str, **members: Any) -> None:
        self.bedrock.add_response("get_model_invocation_job", job(status, **members), {"jobIdentifier": ARN})

    def expect_files(self, *keys: str) -> None:
        wanted = {"Bucket": "acme-batches", "Prefix": f"{FOLDER}/output/"}
        self.s3.add_response("list_objects_v2", {"Contents": [{"Key": key} for key in keys]}, wanted)

    def expect_read(self, key: str, content: StreamingBody) -> None:
        self.s3.add_response("get_object", {"Body": content}, {"Bucket": "acme-batches", "Key": key})

    def expect_output(self, *records: dict[str, Any]) -> None:
        self.expect_files(f"{FOLDER}/output/abcdefghij01/manifest.json.out", OUTPUT_KEY)
        self.expect_read(OUTPUT_KEY, body(jsonl(*records)))

    def expect_input(self) -> None:
        self.expect_read(f"{FOLDER}/input.jsonl", body(input_lines(REQUESTS)))


@pytest.fixture
def aws(three_clients: Clients) -> Iterator[Aws]:
    stubs = [Stubber(client) for client in (three_clients.bedrock, three_clients.bedrock_once, three_clients.s3)]
    for stub in stubs:
        stub.activate()
    yield Aws(three_clients, *stubs)
    for stub in stubs:
        stub.deactivate()
        stub.assert_no_pending_responses()


def kinds(rows: Iterator[ItemResult]) -> dict[str, str]:
    return {row.custom_id: row.kind for row in rows}


# Input file


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


# Life of a job


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


class RawBody(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def reply(status: int, data: bytes) -> Callable[..., AWSResponse]:
    return lambda request, **_: AWSResponse(request.url, status, {}, RawBody(data))


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


# How jobs end


def test_a_job_that_ran_out_of_time_keeps_its_answers(aws: Aws) -> None:
    aws.expect_job("PartiallyCompleted", successRecordCount=1)
    aws.expect_output(answer("r-00000-b"))
    aws.expect_input()
    rows = kinds(aws.provider().results(ARN))
    assert rows == {"r-00000-b": "succeeded", "r-00000-a": "expired", "r-00000-c": "expired"}


@pytest.mark.parametrize(("status", "kind"), [("Expired", "expired"), ("Stopped", "canceled"), ("Failed", "errored")])
def test_a_job_without_output_gives_a_row_for_every_record(aws: Aws, status: str, kind: str) -> None:
    aws.expect_job(status)
    aws.s3.add_response("list_objects_v2", {}, {"Bucket": "acme-batches", "Prefix": f"{FOLDER}/output/"})
    aws.expect_input()
    assert kinds(aws.provider().results(ARN)) == dict.fromkeys(("r-00000-a", "r-00000-b", "r-00000-c"), kind)


def test_a_stopped_job_keeps_what_it_answered(aws: Aws) -> None:
    aws.expect_job("Stopped", successRecordCount=1)
    aws.expect_output(answer("r-00000-c"))
    aws.expect_input()
    rows = kinds(aws.provider().results(ARN))
    assert rows == {"r-00000-c": "succeeded", "r-00000-a": "canceled", "r-00000-b": "canceled"}


def test_a_failed_job_says_why_in_every_row(aws: Aws) -> None:
    aws.expect_job("Failed", message="role cannot be assumed")
    aws.expect_files()
    aws.expect_input()
    errors = {(row.error_type, row.error_message) for row in aws.provider().results(ARN)}
    assert errors == {("api_error", "the Bedrock job failed: role cannot be assumed")}


def test_a_completed_job_that_skipped_a_record_says_so(aws: Aws) -> None:
    aws.expect_job("Completed", successRecordCount=2)
    aws.expect_output(answer("r-00000-c"), answer("r-00000-a"))
    aws.expect_input()
    assert kinds(aws.provider().results(ARN))["r-00000-b"] == "errored"


def test_paid_answers_that_cannot_be_found_are_not_given_up(aws: Aws) -> None:
    aws.expect_job("Completed", successRecordCount=3)
    aws.expect_output(answer("r-00000-c"))
    with pytest.raises(ProviderError, match=r"reports 3 answers, its files hold 1\. Look under s3://"):
        list(aws.provider().results(ARN))


def test_output_may_be_several_files_over_several_pages(aws: Aws) -> None:
    aws.expect_job("Completed", successRecordCount=3)
    wanted = {"Bucket": "acme-batches", "Prefix": f"{FOLDER}/output/"}
    page = {"Contents": [{"Key": "one.jsonl.out"}], "IsTruncated": True, "NextContinuationToken": "more"}
    aws.s3.add_response("list_objects_v2", page, wanted)
    aws.expect_read("one.jsonl.out", body(jsonl(answer("r-00000-c"))))
    page = {"Contents": [{"Key": "two.jsonl.out"}]}
    aws.s3.add_response("list_objects_v2", page, wanted | {"ContinuationToken": "more"})
    aws.expect_read("two.jsonl.out", body(jsonl(answer("r-00000-a"), answer("r-00000-b")) + b"\r\n\r\n"))
    assert set(kinds(aws.provider().results(ARN))) == {"r-00000-a", "r-00000-b", "r-00000-c"}


def test_results_of_an_open_job_are_not_read(aws: Aws) -> None:
    aws.expect_job("InProgress")
    with pytest.raises(ProviderError, match="still InProgress"):
        list(aws.provider().results(ARN))


@pytest.mark.parametrize(
    "content",
    [
        body(b'{"recordId": "r-0'),
        body(b'["recordId"]'),
        body(b'{"modelOutput": {}}'),
        body(jsonl(answer("r-00000-a")) + b"\n", length=5_000),  # cut at a line end: only the length tells
    ],
)
def test_broken_output_is_an_error_never_fewer_rows(aws: Aws, content: StreamingBody) -> None:
    aws.expect_job("Completed", successRecordCount=1)
    aws.expect_files(OUTPUT_KEY)
    aws.expect_read(OUTPUT_KEY, content)
    with pytest.raises(ProviderError, match="cannot read the results of Bedrock job"):
        list(aws.provider().results(ARN))


def test_a_listing_cut_short_is_an_error(aws: Aws) -> None:
    aws.expect_job("Completed")
    s3 = real_client("s3")
    s3.meta.events.register("before-send.s3.ListObjectsV2", reply(200, b"<ListBucketResult><Contents><Key>a.jso"))
    provider = BedrockBatches(replace(aws.clients, s3=s3), SETTINGS)
    with pytest.raises(ProviderError, match="cannot read the results of Bedrock job"):
        list(provider.results(ARN))


def test_a_deleted_input_file_says_what_to_change(aws: Aws) -> None:
    aws.expect_job("Expired")
    aws.expect_files()
    aws.s3.add_client_error("get_object", "NoSuchKey", "gone", 404)
    with pytest.raises(ProviderError, match=r"names the records without an answer.*lifecycle rules"):
        list(aws.provider().results(ARN))


# Output lines


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
