"""What bucket notifications say, as AWS, MiniStack, moto and MinIO write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.drop_folder.events import AnnouncedObject, announced_objects
from pipelines.errors import ServiceError

NOT_AN_EVENT = (
    "the message is no S3 event notification; send the bucket's notifications straight to the queue, and nothing else"
)


def record(key: str, event: str = "ObjectCreated:Put", bucket: str = "inbox") -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventName": event,
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 3, "eTag": "abc", "sequencer": "01"}},
    }


def body(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": records})


@pytest.mark.parametrize("encoded", ["a/b+c%2B%C3%A9.txt", "a%2Fb+c%2B%C3%A9.txt", "a/b%20c%2B%C3%A9.txt"])
def test_keys_are_decoded_however_they_were_encoded(encoded: str) -> None:
    assert announced_objects(body(record(encoded))) == [AnnouncedObject("inbox", "a/b c+é.txt")]


@pytest.mark.parametrize(
    "event",
    ["ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "ObjectCreated:Copy", "s3:ObjectCreated:Post"],
)
def test_every_way_of_creating_counts(event: str) -> None:
    assert announced_objects(body(record("a.txt", event))) == [AnnouncedObject("inbox", "a.txt")]


def test_deletions_and_the_test_event_announce_nothing() -> None:
    removed = body(record("a.txt", "ObjectRemoved:Delete"), record("a.txt", "ObjectRemoved:DeleteMarkerCreated"))
    assert announced_objects(removed) == []
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-01-01T00:00:00Z", "Bucket": "inbox"}
    assert announced_objects(json.dumps(test)) == []


def test_an_object_is_named_once_per_message() -> None:
    twice = body(record("a.txt"), record("b.txt"), record("a.txt", "ObjectCreated:CompleteMultipartUpload"))
    assert announced_objects(twice) == [AnnouncedObject("inbox", "a.txt"), AnnouncedObject("inbox", "b.txt")]


@pytest.mark.parametrize("text", ["", "hello", "[]", "{}", '{"Records": [{"eventName": "x"}]}', '{"Records": 3}'])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ServiceError) as caught:
        announced_objects(text)
    assert str(caught.value) == NOT_AN_EVENT
