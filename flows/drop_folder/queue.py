"""The SQS queue that a bucket's notifications go to. The only module of `flows` that imports boto3.

A message is deleted when everything it announces is done. One that is not comes again after the visibility timeout,
and after the queue's own number of tries it goes to the dead-letter queue: that is SQS's work, not ours.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from pipelines.errors import JobError, ServiceError

_AWS_HOST = re.compile(r"^https://sqs\.([a-z0-9-]+)\.amazonaws\.com")
_NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidAddress"}
_DENIED = {"AccessDenied", "AccessDeniedException", "AWS.SimpleQueueService.AccessDenied"}
_SOURCE = "the command"
_HIDDEN_AGAIN_AFTER = 1 / 3  # of the visibility timeout: one try may fail before the message comes again

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Message:
    """One delivery of a queue's message."""

    id: str
    body: str
    receipt: str


class Queue:
    """A queue of notifications from a bucket."""

    def __init__(self, url: str) -> None:
        """Connect, and look whether the queue is there.

        Raises:
            JobError: no such queue, or it may not be used.
            ServiceError: SQS cannot be reached.
        """
        self.url = url
        host = _AWS_HOST.match(url)
        try:
            self._sqs = boto3.Session().client("sqs", region_name=host[1] if host else None)
        except (NoRegionError, ValueError) as error:
            problem = f"--queue: cannot use '{url}' ({error}); set AWS_DEFAULT_REGION and check the URL"
            raise JobError([problem], _SOURCE) from None
        names = ["VisibilityTimeout", "RedrivePolicy"]
        with self._errors("sqs:GetQueueAttributes"):
            found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names).get("Attributes", {})
        self._visibility_seconds = max(int(found.get("VisibilityTimeout", 30)), 1)
        self.tries = int(json.loads(found["RedrivePolicy"])["maxReceiveCount"]) if "RedrivePolicy" in found else None

    def receive(self, wait_seconds: int) -> Message | None:
        """The next message; None if none came.

        Raises:
            JobError: it may not be received from.
            ServiceError: SQS cannot be reached.
        """
        with self._errors("sqs:ReceiveMessage"):
            reply = self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=1, WaitTimeSeconds=wait_seconds)
        for message in reply.get("Messages", []):
            return Message(message["MessageId"], message["Body"], message["ReceiptHandle"])
        return None

    def delete(self, message: Message) -> None:
        """Have the queue forget a message whose work is done."""
        with self._errors("sqs:DeleteMessage"):
            self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)

    @contextmanager
    def hidden(self, message: Message) -> Iterator[None]:
        """Keep the message from other listeners while the block works on it, however long that takes."""
        is_done = threading.Event()
        keeper = threading.Thread(target=self._keep_hidden, args=(message, is_done), name="visibility", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            is_done.set()
            keeper.join()

    def _keep_hidden(self, message: Message, is_done: threading.Event) -> None:
        while not is_done.wait(self._visibility_seconds * _HIDDEN_AGAIN_AFTER):
            try:
                with self._errors("sqs:ChangeMessageVisibility"):
                    self._sqs.change_message_visibility(
                        QueueUrl=self.url,
                        ReceiptHandle=message.receipt,
                        VisibilityTimeout=self._visibility_seconds,
                    )
            except (JobError, ServiceError) as error:  # at worst another listener does the same work once more
                log.warning("message %s: %s", message.id, error)

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code in _NO_QUEUE:
                problem = f"--queue: there is no queue '{self.url}'; check the URL, account and region"
                raise JobError([problem], _SOURCE) from None
            if code in _DENIED:
                raise JobError(
                    [f"--queue: {action} on '{self.url}' is denied; allow it to this user or role"]
                ) from None
            raise ServiceError(f"{action} on '{self.url}' failed: {code}: {said}") from error
        except BotoCoreError as error:
            raise ServiceError(f"{action} on '{self.url}' failed: {error}; check network and credentials") from error
