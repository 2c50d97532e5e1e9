"""The queue, on a real SQS emulator: what is kept hidden, what comes again, and what is said when it cannot be used."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.drop_folder.inbox import Inbox
from flows.drop_folder.queue import Queue
from infra.local.s3 import Emulator
from pipelines.errors import JobError, ServiceError, StoreError
from tests.s3_fixtures import Bucket, fresh_bucket, use


def make_queue(sqs: Any, name: str, visibility_seconds: int = 1, tries: int | None = None) -> str:
    attributes = {"VisibilityTimeout": str(visibility_seconds)}
    if tries:
        dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(tries)})
    url: str = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


def test_a_message_stays_hidden_while_it_is_worked_on(s3: Bucket) -> None:
    sqs = s3.client("sqs")
    url = make_queue(sqs, f"{s3.name}-hidden")
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    queue = Queue(url)
    message = queue.receive(5)
    assert message is not None and message.body == "hello"
    with queue.hidden(message):
        assert queue.receive(3) is None, "three times the visibility timeout"
    again = queue.receive(5)
    assert again is not None and again.id == message.id, "and comes again when the work did not end with a delete"
    queue.delete(again)
    assert queue.receive(2) is None


def test_the_number_of_tries_is_the_queues_own(s3: Bucket) -> None:
    sqs = s3.client("sqs")
    assert Queue(make_queue(sqs, f"{s3.name}-tries", tries=4)).tries == 4
    assert Queue(make_queue(sqs, f"{s3.name}-endless")).tries is None


def test_a_queue_that_is_not_there(s3: Bucket) -> None:
    url = f"{s3.server.endpoint}/000000000000/nothing-here"
    with pytest.raises(JobError) as caught:
        Queue(url)
    assert caught.value.problems == [f"--queue: there is no queue '{url}'; check the URL, account and region"]


def test_a_queue_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    use({"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}, monkeypatch)
    use({"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_MAX_ATTEMPTS": "1"}, monkeypatch)
    with pytest.raises(ServiceError, match=r"^sqs:GetQueueAttributes on '\S+' failed: Could not connect"):
        Queue("http://127.0.0.1:9/1/q")


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket on a server that checks permissions, as AWS does."""
    with Emulator(tmp_path / "guarded", auth=True) as emulator:
        yield fresh_bucket(emulator, monkeypatch)


def become_user(bucket: Bucket, actions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    iam = bucket.client("iam")
    iam.create_user(UserName="listener")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam.put_user_policy(UserName="listener", PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="listener")["AccessKey"]
    use({"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}, monkeypatch)


def test_a_missing_permission_is_named(guarded: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_queue(guarded.client("sqs"), "announcements")
    become_user(guarded, ["s3:ListBucket", "s3:GetObject", "sqs:GetQueueAttributes"], monkeypatch)
    with pytest.raises(StoreError, match=r"access denied; allow s3:PutObject on s3://[\w-]+/status/_README.txt"):
        Inbox(f"{guarded.uri}/in").check()
    queue = Queue(url)
    with pytest.raises(JobError) as caught:
        queue.receive(0)
    assert caught.value.problems == [f"--queue: sqs:ReceiveMessage on '{url}' is denied; allow it to this user or role"]


def test_a_message_whose_hiding_fails_is_still_worked_on(s3: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    sqs = s3.client("sqs")
    url = make_queue(sqs, f"{s3.name}-gone")
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    queue = Queue(url)
    message = queue.receive(5)
    assert message is not None
    with queue.hidden(message):
        sqs.delete_queue(QueueUrl=url)
        deadline = time.monotonic() + 30
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
    assert caplog.messages[0].startswith(
        f"message {message.id}: 1 problem in the command\n  --queue: there is no queue"
    )
