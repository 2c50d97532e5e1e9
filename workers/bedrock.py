"""Bedrock's own batch inference jobs behind `BatchProvider`: for data that must stay in one AWS region.

Input and output are JSONL files in the user's bucket, under `<prefix>/<token>/`; they belong to the exchange with
Bedrock, not to the run's store. Bedrock's create is idempotent by token; how long a token is remembered is not
documented, so a job of that token is also looked for by its name before one is created. The job's name carries the
number of records, because Bedrock reports a total of 0 until it has validated the input (BerriAI/litellm#38744).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from pipelines.errors import JobError, ProviderError
from pipelines.escalation.provider import BatchStatus, ItemResult, OutcomeUnknownError, RefusedError, Request
from workers.bedrock_records import input_lines, item_results, record_ids

_CONNECT_TIMEOUT_SECONDS = 10
_READ_TIMEOUT_SECONDS = 60
# Looking for the job and uploading may take so long; after that the job is not created any more.
_PREPARE_LIMIT_SECONDS = 600.0
# Bedrock documents no lag of its list; a guess on the safe side.
_READ_LAG_SECONDS = 120.0
_SETTLE_SECONDS = _PREPARE_LIMIT_SECONDS + _CONNECT_TIMEOUT_SECONDS + _READ_TIMEOUT_SECONDS + _READ_LAG_SECONDS

_NAME_PREFIX = "sluice"
_NAME = re.compile(_NAME_PREFIX + r"-[0-9a-f]{32}-(\d+)")
# The characters that Bedrock takes in an S3 address; it does not take every key that S3 has.
_PREFIX = re.compile(r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/[-!_*'().a-z0-9A-Z]+)*")
_ENDED = {"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"}
_READ_BYTES = 256 * 1024  # botocore's 1 KiB makes long lines slow

# What comes out of boto3 besides its answer; ValueError: a line of a file that is not JSON, or not a record.
_SDK_ERRORS = (BotoCoreError, ClientError, ResponseParserError)
_READ_ERRORS = (*_SDK_ERRORS, ValueError)
_UNKNOWN_CODES = {"ConflictException", "InternalServerException", "RequestTimeout", "RequestTimeoutException"}
_NEXT_MOVES = {
    "AccessDeniedException": "allow the caller this action and iam:PassRole, and the model in this region",
    "AccessDenied": "allow the caller s3:GetObject, s3:PutObject and s3:ListBucket under the Bedrock prefix",
    "NoSuchBucket": "create the bucket, in the job's region, or correct the Bedrock prefix",
    "NoSuchKey": "the file was deleted; exempt the Bedrock prefix from lifecycle rules until runs are complete",
    "ResourceNotFoundException": "check the model id or inference profile, the role and the region",
    "ServiceQuotaExceededException": "wait for running jobs, or raise the batch inference quota in Service Quotas",
    "ThrottlingException": "run the same command again later",
    "ValidationException": "check the model id, the role, and that both support batch inference in this region",
}


@dataclass(frozen=True)
class BedrockSettings:
    """What only the user's AWS account knows. The limits are quotas of model and region: see Service Quotas."""

    region: str
    role_arn: str  # the service role Bedrock assumes to read and write the prefix
    s3_prefix: str  # s3://bucket/folder, in the same region
    model_ids: Mapping[str, str]  # Claude model id as jobs name it -> Bedrock model id or inference profile ARN
    minimum_records: int = 100
    maximum_records: int = 50_000
    maximum_file_bytes: int = 1_000_000_000
    timeout_hours: int = 24

    def __post_init__(self) -> None:
        problems = []
        if not _PREFIX.fullmatch(self.s3_prefix.rstrip("/")):
            problems.append(
                f"s3_prefix: '{self.s3_prefix}' is no S3 address that Bedrock takes; use s3://bucket/folder"
            )
        if not self.role_arn.startswith("arn:aws"):
            problems.append(f"role_arn: '{self.role_arn}' is no role; give the ARN of the batch inference service role")
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
    """Clients with AWS's own search for credentials; one region for all three."""
    limits = {"connect_timeout": _CONNECT_TIMEOUT_SECONDS, "read_timeout": _READ_TIMEOUT_SECONDS}
    retrying = Config(retries={"mode": "standard", "total_max_attempts": 4}, **limits)
    once = Config(retries={"mode": "standard", "total_max_attempts": 1}, **limits)
    session = boto3.Session(region_name=region)
    return Clients(
        bedrock=session.client("bedrock", config=retrying),
        bedrock_once=session.client("bedrock", config=once),
        s3=session.client("s3", config=retrying),
    )


class BedrockBatches:
    """`BatchProvider` over batch inference jobs; a batch's id is its job's ARN."""

    name = "bedrock"
    # Bedrock sets its own prices: rows of this provider in the price book, or no price.
    price_provider = "bedrock"

    def __init__(
        self,
        clients: Clients,
        settings: BedrockSettings,
        settle_seconds: float = _SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap clients.

        Args:
            clients: see `connect`.
            settings: role, bucket, models, limits.
            settle_seconds: see `BatchProvider`.
            clock: seconds that only move on.
        """
        self.settle_seconds = settle_seconds
        self.minimum_requests = settings.minimum_records
        self.maximum_requests = settings.maximum_records
        self._bedrock = clients.bedrock
        self._bedrock_once = clients.bedrock_once
        self._s3 = clients.s3
        self._settings = settings
        self._clock = clock

    def create(self, requests: Sequence[Request], token: str) -> str:
        """See `BatchProvider.create`. The same token again gives the same job, never a second one.

        A refusal speaks of this call only, not of an earlier one with the same token.
        """
        started = self._clock()
        self._check_count(len(requests))
        model_id = self._model_id(requests)
        body = input_lines(requests)
        self._check_size(len(body))
        name = f"{_NAME_PREFIX}-{token}-{len(requests)}"
        if job_arn := self._find(name):
            return job_arn
        folder = f"{self._settings.s3_prefix.rstrip('/')}/{token}"
        self._upload(f"{folder}/input.jsonl", body)
        if self._clock() - started > _PREPARE_LIMIT_SECONDS:
            raise RefusedError(
                f"uploading {len(body):,} bytes for Bedrock took longer than {_PREPARE_LIMIT_SECONDS:.0f} s; no job was "
                "created. Lower escalation.chunk_items, or run nearer to the bucket"
            )
        return self._start(name, token, model_id, folder)

    def retrieve(self, batch_id: str) -> BatchStatus:
        """See `BatchProvider.retrieve`."""
        return _status(self._job(batch_id))

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        """See `BatchProvider.list_since`: every job with a name of ours, whatever its prefix was set to then."""
        with _reading("list the batch inference jobs"):
            return [
                _status(job)
                for job in self._jobs(submitTimeAfter=created_after, nameContains=_NAME_PREFIX)
                if _NAME.fullmatch(job["jobName"])
            ]

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        """See `BatchProvider.results`. A record the job ended without answering gets a row that says so."""
        job = self._job(batch_id)
        status, sent = job["status"], _status(job).requests
        if status not in _ENDED:
            raise ProviderError(f"Bedrock job {batch_id} is still {status}; read its results when it has ended")
        answered: set[str] = set()
        succeeded = 0
        with _reading(f"read the results of Bedrock job {batch_id}"):
            for row in self._output_rows(job):
                answered.add(row.custom_id)
                succeeded += row.kind == "succeeded"
                yield row
        if succeeded < job.get("successRecordCount", 0):
            raise ProviderError(
                f"Bedrock job {batch_id} reports {job['successRecordCount']} answers, its output files hold {succeeded}. "
                f"Look under {_output_uri(job)}: a file was deleted, or this account may not list or read all of them"
            )
        if len(answered) < sent:
            yield from (_unanswered(record, job) for record in self._input_ids(job) if record not in answered)

    def cancel(self, batch_id: str) -> None:
        """Stop a job. What it has already answered is kept, and billed; a job that has ended stays as it is."""
        with _reading(f"stop Bedrock job {batch_id}"):
            try:
                self._bedrock.stop_model_invocation_job(jobIdentifier=batch_id)
            except ClientError as error:
                if _code(error) != "ConflictException":
                    raise

    def _check_count(self, count: int) -> None:
        low, high = self.minimum_requests, self.maximum_requests
        if count < low:
            raise RefusedError(
                f"{count} items are too few for a Bedrock job, which takes {low} or more (a quota per model; these items "
                "go to review). Raise escalation.chunk_items so that no chunk is smaller, or set minimum_records to what "
                "Service Quotas shows as 'Minimum number of records per batch inference job' for this model"
            )
        if count > high:
            raise RefusedError(
                f"{count} items are too many for one Bedrock file, which takes {high}; "
                f"lower escalation.chunk_items to {high} or less"
            )

    def _check_size(self, size: int) -> None:
        limit = self._settings.maximum_file_bytes
        if size > limit:
            raise RefusedError(
                f"the input file for Bedrock has {size:,} bytes, the limit is {limit:,}; lower escalation.chunk_items"
            )

    def _model_id(self, requests: Sequence[Request]) -> str:
        models = {str(request["params"]["model"]) for request in requests}
        if len(models) > 1:
            raise RefusedError(
                f"a Bedrock job has one model, this message batch {len(models)}; send one batch per model"
            )
        model = models.pop()
        if model not in self._settings.model_ids:
            raise RefusedError(
                f"no Bedrock model is configured for '{model}'; add to model_ids the id or inference profile that "
                f"Bedrock has for it in {self._settings.region}. A cross-region profile may move data to other regions"
            )
        return self._settings.model_ids[model]

    def _find(self, name: str) -> str | None:
        """The job of that name, if an earlier call with the same token made it."""
        try:
            return next((str(job["jobArn"]) for job in self._jobs(nameContains=name) if job["jobName"] == name), None)
        except _SDK_ERRORS as error:
            # Whether an earlier call took effect is exactly what could not be asked.
            raise OutcomeUnknownError(f"cannot look for an earlier job: {_describe(error)}") from error

    def _upload(self, uri: str, body: bytes) -> None:
        try:
            self._s3.put_object(**_place(uri), Body=body, ContentType="application/jsonl")
        except _SDK_ERRORS as error:
            raise RefusedError(f"cannot write {uri}, so no Bedrock job was created: {_describe(error)}") from error

    def _start(self, name: str, token: str, model_id: str, folder: str) -> str:
        try:
            answer = self._bedrock_once.create_model_invocation_job(
                jobName=name,
                clientRequestToken=token,
                roleArn=self._settings.role_arn,
                modelId=model_id,
                modelInvocationType="InvokeModel",
                inputDataConfig={"s3InputDataConfig": {"s3InputFormat": "JSONL", "s3Uri": f"{folder}/input.jsonl"}},
                outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"{folder}/output/"}},
                timeoutDurationInHours=self._settings.timeout_hours,
            )
            return str(answer["jobArn"])
        except _SDK_ERRORS as error:
            if _is_refusal(error):
                raise RefusedError(f"Bedrock refused the job: {_describe(error)}") from error
            raise OutcomeUnknownError(_describe(error)) from error
        except KeyError as error:
            raise OutcomeUnknownError("Bedrock answered without a job id") from error

    def _job(self, batch_id: str) -> dict[str, Any]:
        with _reading(f"ask about Bedrock job {batch_id}"):
            return dict(self._bedrock.get_model_invocation_job(jobIdentifier=batch_id))

    def _jobs(self, **wanted: Any) -> Iterator[dict[str, Any]]:
        for page in self._bedrock.get_paginator("list_model_invocation_jobs").paginate(**wanted):
            yield from page.get("invocationJobSummaries", ())

    def _output_rows(self, job: Mapping[str, Any]) -> Iterator[ItemResult]:
        # Bedrock puts a folder named after the job in between, and a manifest.json.out beside the answers.
        place = _place(_output_uri(job))
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=place["Bucket"], Prefix=place["Key"])
        for key in (found["Key"] for page in pages for found in page.get("Contents", ())):
            if key.endswith(".jsonl.out"):
                yield from item_results(self._lines(place["Bucket"], key))

    def _input_ids(self, job: Mapping[str, Any]) -> Iterator[str]:
        uri = job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        place = _place(uri)
        with _reading(f"read {uri}, which names the records without an answer"):
            yield from record_ids(self._lines(place["Bucket"], place["Key"]))

    def _lines(self, bucket: str, key: str) -> Iterator[bytes]:
        body = self._s3.get_object(Bucket=bucket, Key=key)["Body"]
        try:
            yield from body.iter_lines(chunk_size=_READ_BYTES)
        finally:
            body.close()
