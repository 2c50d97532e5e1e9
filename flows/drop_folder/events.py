"""What a bucket announces through its queue: the text of a message in, the objects that were created out.

An event is a hint, never the truth: it may come twice, late or out of order. Whoever acts on it looks the object up.
Knows nothing of queues and of S3.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_plus

from pydantic import BaseModel, Field, ValidationError

from pipelines.errors import ServiceError

_TEST_EVENT = "s3:TestEvent"  # the first message of every new subscription
_CREATED = "ObjectCreated:"  # Put, Post, Copy and CompleteMultipartUpload alike


class AnnouncedObject(NamedTuple):
    """An object that is said to have been created."""

    bucket: str
    key: str


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str


class _Location(BaseModel):
    bucket: _Bucket
    object: _Object


class _Record(BaseModel):
    event_name: str = Field(alias="eventName")
    s3: _Location


class _Message(BaseModel):
    event: str | None = Field(None, alias="Event")
    records: list[_Record] | None = Field(None, alias="Records")


def announced_objects(body: str) -> list[AnnouncedObject]:
    """The objects that a message says were created, each once; none for S3's test event and for deletions.

    Raises:
        ServiceError: the message is no S3 event notification.
    """
    try:
        message = _Message.model_validate_json(body)
    except ValidationError:
        message = _Message()
    if message.event == _TEST_EVENT:
        return []
    if message.records is None:
        raise ServiceError(
            "the message is no S3 event notification; send the bucket's notifications straight to the queue, "
            "and nothing else"
        )
    created = [record.s3 for record in message.records if record.event_name.removeprefix("s3:").startswith(_CREATED)]
    # Keys are form-encoded: a space comes as `+`, and some stores encode the slash too.
    return list(dict.fromkeys(AnnouncedObject(place.bucket.name, unquote_plus(place.object.key)) for place in created))
