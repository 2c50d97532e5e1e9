"""AWS as Bedrock batch inference jobs see it: boto3 is real, AWS is a stub of recorded answers. No network."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.response import StreamingBody
from botocore.stub import Stubber

from pipelines.escalation.provider import Request
from workers.providers.bedrock import BedrockBatches
from workers.providers.bedrock_account import BedrockSettings, Clients
from workers.providers.bedrock_records import input_lines

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


class RawBody(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def reply(status: int, data: bytes) -> Callable[..., AWSResponse]:
    return lambda request, **_: AWSResponse(request.url, status, {}, RawBody(data))
