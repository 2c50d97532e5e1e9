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
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pipelines.errors import ProviderError
from pipelines.escalation.provider import BatchStatus, ItemResult, OutcomeUnknownError, RefusedError, Request
from workers.providers.bedrock_account import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    SDK_ERRORS,
    BedrockSettings,
    Clients,
    describe,
    error_code,
    is_refusal,
    provider_errors,
)
from workers.providers.bedrock_records import errored, input_lines, item_results, record_ids

# Looking for the job and uploading may take so long; after that the job is not created any more.
_PREPARE_LIMIT_SECONDS = 600.0
# Bedrock documents no lag of its list; a guess on the safe side.
_READ_LAG_SECONDS = 120.0
_SETTLE_SECONDS = _PREPARE_LIMIT_SECONDS + CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS + _READ_LAG_SECONDS

_NAME_PREFIX = "sluice"
_NAME = re.compile(_NAME_PREFIX + r"-[0-9a-f]{32}-(\d+)")
_ENDED = {"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"}
# A proxy's page instead of an answer: botocore lets these through as they come.
_GARBLED = (AttributeError, KeyError, TypeError, ValueError)
_READ_BYTES = 256 * 1024  # botocore's 1 KiB makes long lines slow


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
        assert _NAME.fullmatch(name), "a token is 32 hexadecimal digits; a job of another name is never listed"
        if job_arn := self._find(name):
            return job_arn
        folder = f"{self._settings.s3_prefix.rstrip('/')}/{token}"
        self._upload(f"{folder}/input.jsonl", body)
        if self._clock() - started > _PREPARE_LIMIT_SECONDS:
            raise RefusedError(
                f"uploading {len(body):,} bytes for Bedrock took longer than {_PREPARE_LIMIT_SECONDS:.0f} s; "
                "no job was created. Lower escalation.chunk_items, or run nearer to the bucket"
            )
        return self._start(name, token, model_id, folder)

    def retrieve(self, batch_id: str) -> BatchStatus:
        """See `BatchProvider.retrieve`."""
        return _status(self._job(batch_id))

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        """See `BatchProvider.list_since`: every job with a name of ours, whatever its prefix was set to then."""
        with provider_errors("list the batch inference jobs"):
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
        with provider_errors(f"read the results of Bedrock job {batch_id}"):
            for row in self._output_rows(job):
                answered.add(row.custom_id)
                succeeded += row.kind == "succeeded"
                yield row
        if succeeded < job.get("successRecordCount", 0):
            raise ProviderError(
                f"Bedrock job {batch_id} reports {job['successRecordCount']} answers, its files hold {succeeded}. "
                f"Look under {_output_uri(job)}: a file was deleted or moved; put it back, then run the command again"
            )
        if len(answered) < sent:
            yield from (_unanswered(record, job) for record in self._input_ids(job) if record not in answered)

    def cancel(self, batch_id: str) -> None:
        """Stop a job. What it has already answered is kept, and billed; a job that has ended stays as it is."""
        with provider_errors(f"stop Bedrock job {batch_id}"):
            try:
                self._bedrock.stop_model_invocation_job(jobIdentifier=batch_id)
            except SDK_ERRORS as error:
                if error_code(error) != "ConflictException":
                    raise

    def check(self, request: Request) -> None:
        """See `BatchProvider.check`. Bedrock has no free trial of a record: only the model id can be looked up."""
        self._settings.model_ids[request["params"]["model"]]

    def delete(self, batch_id: str) -> None:
        """See `BatchProvider.delete`: Bedrock's copy is the user's own bucket, whose lifecycle rules decide."""

    def _check_count(self, count: int) -> None:
        low, high = self.minimum_requests, self.maximum_requests
        if count < low:
            raise RefusedError(
                f"{count} items are too few for a Bedrock job, which takes {low} or more (a quota of the model); "
                "these items go to review. If Service Quotas shows a lower 'Minimum number of records per batch "
                "inference job' for this model, set minimum_records to it"
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
        except SDK_ERRORS as error:
            # Whether an earlier call took effect is exactly what could not be asked.
            raise OutcomeUnknownError(f"cannot look for an earlier job: {describe(error)}") from error

    def _upload(self, uri: str, body: bytes) -> None:
        try:
            self._s3.put_object(**_place(uri), Body=body, ContentType="application/jsonl")
        except SDK_ERRORS as error:
            raise RefusedError(f"cannot write {uri}, so no Bedrock job was created: {describe(error)}") from error

    def _start(self, name: str, token: str, model_id: str, folder: str) -> str:
        try:
            answer = self._bedrock_once.create_model_invocation_job(
                jobName=name,
                clientRequestToken=token,
                roleArn=self._settings.role_arn,
                modelId=model_id,
                inputDataConfig={"s3InputDataConfig": {"s3InputFormat": "JSONL", "s3Uri": f"{folder}/input.jsonl"}},
                outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"{folder}/output/"}},
                timeoutDurationInHours=self._settings.timeout_hours,
            )
            return str(answer["jobArn"])
        except SDK_ERRORS as error:
            if is_refusal(error):
                raise RefusedError(f"Bedrock refused the job: {describe(error)}") from error
            raise OutcomeUnknownError(describe(error)) from error
        except _GARBLED as error:
            raise OutcomeUnknownError("the answer to creating a Bedrock job is not one of Bedrock's") from error

    def _job(self, batch_id: str) -> dict[str, Any]:
        with provider_errors(f"ask about Bedrock job {batch_id}"):
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
        with provider_errors(f"read {uri}, which names the records without an answer"):
            yield from record_ids(self._lines(place["Bucket"], place["Key"]))

    def _lines(self, bucket: str, key: str) -> Iterator[bytes]:
        body = self._s3.get_object(Bucket=bucket, Key=key)["Body"]
        try:
            yield from body.iter_lines(chunk_size=_READ_BYTES)
        finally:
            body.close()


def _status(job: Mapping[str, Any]) -> BatchStatus:
    name = _NAME.fullmatch(job.get("jobName", ""))
    requests = int(name[1]) if name else int(job.get("totalRecordCount", 0))
    is_ended = job["status"] in _ENDED
    return BatchStatus(
        batch_id=job["jobArn"],
        created_at=job["submitTime"],
        is_ended=is_ended,
        requests=requests,
        finished_requests=requests if is_ended else int(job.get("processedRecordCount", 0)),
    )


def _unanswered(custom_id: str, job: Mapping[str, Any]) -> ItemResult:
    """What became of a record without an output line, by how its job ended."""
    status = job["status"]
    if status == "Stopped":
        return ItemResult(custom_id, "canceled")
    if status in ("Expired", "PartiallyCompleted"):  # partially: not every record came up in time
        return ItemResult(custom_id, "expired")
    if status == "Failed":
        return errored(custom_id, "api_error", f"the Bedrock job failed: {job.get('message', 'no reason given')}")
    return errored(custom_id, "api_error", "Bedrock completed the job without a line for this record")


def _output_uri(job: Mapping[str, Any]) -> str:
    return str(job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"])


def _place(uri: str) -> dict[str, str]:
    parts = urlsplit(uri)
    return {"Bucket": parts.netloc, "Key": parts.path.removeprefix("/")}
