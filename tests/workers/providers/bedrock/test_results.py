"""The results of a Bedrock job, however it ended: one row for every record, or an error."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from botocore.response import StreamingBody

from pipelines.errors import ProviderError
from pipelines.escalation.provider import ItemResult
from tests.workers.providers.bedrock.aws_stub import (
    ARN,
    FOLDER,
    OUTPUT_KEY,
    SETTINGS,
    Aws,
    answer,
    body,
    jsonl,
    real_client,
    reply,
)
from workers.providers.bedrock import BedrockBatches


def kinds(rows: Iterator[ItemResult]) -> dict[str, str]:
    return {row.custom_id: row.kind for row in rows}


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
