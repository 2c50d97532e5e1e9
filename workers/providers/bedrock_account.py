"""The user's AWS account as Bedrock batch inference needs it: settings, clients, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.parsers import ResponseParserError

from pipelines.errors import JobError, ProviderError
from workers.providers.bedrock_records import one_line

CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60

# What comes out of boto3 besides its answer.
SDK_ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError, ResponseParserError)
# While a file is read, also: a line that is not JSON, or not a record.
_READ_ERRORS: tuple[type[Exception], ...] = (*SDK_ERRORS, ValueError)

# What Bedrock takes as an S3 folder; it does not take every name that S3 has.
_PREFIX = re.compile(r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/[-!_*'().a-z0-9A-Z]+)*/?")
# With any other answer of class 4xx nothing was created.
_UNKNOWN_CODES = {"ConflictException", "InternalServerException"}
_UNKNOWN_STATUS = {408, 409}
_REFUSED_CODES = {"ThrottlingException", "ServiceQuotaExceededException"}
_NEXT_MOVES = {
    "AccessDeniedException": "allow the caller this action, iam:PassRole on the role, and the model in this region",
    "AccessDenied": "allow the caller s3:GetObject, s3:PutObject and s3:ListBucket under the Bedrock prefix",
    "EndpointConnectionError": "check the network, and that Bedrock is offered in this region",
    "ExpiredTokenException": "sign in to AWS again",
    "NoCredentialsError": "give AWS credentials where the flow runs",
    "NoSuchBucket": "create the bucket in the job's region, or correct the Bedrock prefix",
    "NoSuchKey": "the file was deleted; exempt the Bedrock prefix from lifecycle rules until runs are complete",
    "ResourceNotFoundException": "check the model id or inference profile, the role, the job and the region",
    "ServiceQuotaExceededException": "wait for running jobs to end, or raise the quota in Service Quotas",
    "ThrottlingException": "run the same command again later",
    "ValidationException": "check model id, role and bucket, and that the model does batches in this region",
}


@dataclass(frozen=True)
class BedrockSettings:
    """What only the user's AWS account knows. The limits are quotas of model and region: see Service Quotas.

    ``model_ids`` maps a Claude model as jobs name it to Bedrock's model id or inference profile; ``role_arn`` is the
    service role with which Bedrock reads and writes ``s3_prefix``, a folder in the same region.
    """

    region: str
    role_arn: str
    s3_prefix: str
    model_ids: Mapping[str, str]
    minimum_records: int = 100
    maximum_records: int = 50_000
    maximum_file_bytes: int = 1_000_000_000
    timeout_hours: int = 24

    def __post_init__(self) -> None:
        problems = []
        if not _PREFIX.fullmatch(self.s3_prefix):
            problems.append(f"s3_prefix: '{self.s3_prefix}' is no S3 folder that Bedrock takes; use s3://bucket/folder")
        if not self.role_arn.startswith("arn:aws"):
            problems.append(f"role_arn: '{self.role_arn}' is no role; give the ARN of the batch inference service role")
        if self.minimum_records < 1:
            problems.append(f"minimum_records: {self.minimum_records}, but a job has at least 1 record")
        if not 24 <= self.timeout_hours <= 168:
            problems.append(f"timeout_hours: {self.timeout_hours}, but Bedrock takes 24 to 168")
        if problems:
            raise JobError(problems, source="the Bedrock settings")


@dataclass(frozen=True)
class Clients:
    """boto3 clients: ``bedrock_once`` never retries and is for creating, the others may."""

    bedrock: Any = field(repr=False)
    bedrock_once: Any = field(repr=False)
    s3: Any = field(repr=False)


def connect(region: str) -> Clients:
    """Clients of one region, with AWS's own search for credentials."""
    session = boto3.Session(region_name=region)

    def client(service: str, attempts: int) -> Any:
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )
        return session.client(service, config=config)

    return Clients(bedrock=client("bedrock", 4), bedrock_once=client("bedrock", 1), s3=client("s3", 4))


def is_refusal(error: Exception) -> bool:
    """Whether a create call that ended so had no effect, for sure. In doubt, no."""
    if not isinstance(error, ClientError):
        return isinstance(error, NoCredentialsError | CredentialRetrievalError | ParamValidationError)  # never sent
    code, status = error_code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _REFUSED_CODES:
        return True
    return 400 <= status < 500 and code not in _UNKNOWN_CODES and status not in _UNKNOWN_STATUS


def error_code(error: Exception) -> str:
    """AWS's name of an error; empty if AWS gave none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def describe(error: Exception) -> str:
    """AWS's own words and the next move. Errors without a code may quote what was being read: only their kind."""
    kind = error_code(error) or type(error).__name__
    words = one_line(str(error.response.get("Error", {}).get("Message", ""))) if isinstance(error, ClientError) else ""
    next_move = _NEXT_MOVES.get(kind)
    return kind + (f": {words}" if words else "") + (f"; {next_move}" if next_move else "")


@contextmanager
def provider_errors(what: str) -> Iterator[None]:
    """Turn whatever boto3 or a broken line raises into a `ProviderError` that begins "cannot ..."."""
    try:
        yield
    except _READ_ERRORS as error:
        raise ProviderError(f"cannot {what}: {describe(error)}") from error
