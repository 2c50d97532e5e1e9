"""Objects under names that obstore does not take, such as `a//b`, `../a` or one with a control character: boto3 does.

A single such key makes obstore refuse the whole listing, so that whoever may put an object into a folder could stop
whoever watches it. They are found and looked at here, and neither read nor written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from pipelines.errors import StoreError
from pipelines.settings import settings
from pipelines.store import s3

_GONE = {"404", "NoSuchKey", "NotFound"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of an object, without its content; ``version_id`` is None where versions are not kept."""

    key: str
    size_bytes: int
    e_tag: str
    version_id: str | None
    written_at: datetime


def is_usable(key: str) -> bool:
    """Whether obstore takes the key as it is (`Path::parse` of the crate object_store)."""
    has_control = any(char < " " or char == "\x7f" for char in key)
    return not has_control and not {"", ".", ".."} & set(key.split("/"))


def entries(bucket: str, folder: str, *, recursive: bool = True, after: str = "") -> Iterator[Entry]:
    """The objects in a folder ("" is the whole bucket), whatever their names, beyond the key ``after``, in order."""
    with _errors("list", bucket, folder):
        pages = _client(bucket).get_paginator("list_objects_v2")
        wanted = ({"StartAfter": after} if after else {}) | ({} if recursive else {"Delimiter": "/"})
        for page in pages.paginate(Bucket=bucket, Prefix=f"{folder}/" if folder else "", **wanted):
            for found in page.get("Contents", []):
                yield Entry(found["Key"], found["Size"], found.get("ETag", "").strip('"'), None, found["LastModified"])


def folders(bucket: str, folder: str) -> list[str]:
    """Names of the folders directly in a folder, those left out that the library does not take."""
    with _errors("list", bucket, folder):
        pages = _client(bucket).get_paginator("list_objects_v2")
        prefix = f"{folder}/" if folder else ""
        found = (
            each
            for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
            for each in page.get("CommonPrefixes", [])
        )
        names = [each["Prefix"].removeprefix(prefix).removesuffix("/") for each in found]
    return [name for name in names if is_usable(name)]


def entry(bucket: str, key: str) -> Entry | None:
    """What there is to know about an object; None where there is none."""
    from botocore.exceptions import ClientError

    with _errors("read", bucket, key):
        try:
            found = _client(bucket).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _GONE:
                return None
            raise
        version = found.get("VersionId")
        version = None if version == "null" else version
        return Entry(key, found["ContentLength"], found.get("ETag", "").strip('"'), version, found["LastModified"])


def _client(bucket: str) -> Any:
    return open_client(settings().s3_endpoint, settings().aws_region, s3.uses_path_style(bucket))


@lru_cache(maxsize=4)
def open_client(endpoint: str | None, region: str | None, is_path_style: bool) -> Any:
    """A client of boto3, by the settings that `s3.open_bucket` goes by."""
    import boto3  # which local runs need not wait for
    from botocore.config import Config

    session = boto3.Session()
    config = Config(s3={"addressing_style": "path" if is_path_style else "virtual"}, retries={"mode": "standard"})
    region = region or session.region_name or s3.DEFAULT_REGION
    return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)


@contextmanager
def _errors(action: str, bucket: str, key: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(f"cannot {action} '{f's3://{bucket}/{key}'.rstrip('/')}': {reason}") from error
