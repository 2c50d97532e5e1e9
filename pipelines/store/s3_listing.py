"""Finding S3 objects: one by its key, or those in a folder, each with the size and ETag that reading it relies on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, InvalidPathError

from pipelines.errors import JobError, StoreError
from pipelines.store import s3, s3_any_name
from pipelines.store.s3_reading import ObjectVersion

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Store

_LIST_PAGE = 1_000
_MARKER_CHECKS = 16  # at once


def find_object(bucket: str, key: str) -> ObjectVersion | None:
    """The object of exactly this key.

    Raises:
        PermissionError: it may be there, but these credentials may not know.
        JobError: S3 refuses for another reason.
        StoreError: S3 cannot be reached.
    """
    with _errors("read", bucket, key):
        try:
            return _version(bucket, obstore.head(s3.open_bucket(bucket), key))
        except FileNotFoundError:
            return None
        except BaseError as error:
            if s3.is_refused(error):
                raise PermissionError(s3.explain(error, "read", bucket, key)) from error
            raise


def list_objects(bucket: str, folder: str, *, recursive: bool) -> list[ObjectVersion]:
    """The objects in a folder ("" is the whole bucket); the markers by which some tools show folders are left out.

    Some may have keys that cannot be read: see `s3_any_name.is_usable`.

    Raises:
        JobError: S3 refuses.
        StoreError: S3 cannot be reached.
    """
    objects = s3.open_bucket(bucket)
    with _errors("list", bucket, folder):
        try:
            found = [_version(bucket, entry) for page in _pages(objects, folder, recursive) for entry in page]
        except InvalidPathError:  # the library gives nothing of a listing that holds such a key
            return _whatever_their_names(bucket, folder, recursive)
        markers = _markers([version for version in found if version.size_bytes == 0])
    return [version for version in found if version not in markers]


def _pages(objects: S3Store, folder: str, recursive: bool) -> Iterator[Iterable[ObjectMeta]]:
    if recursive:
        yield from obstore.list(objects, folder or None, chunk_size=_LIST_PAGE)
    else:
        yield obstore.list_with_delimiter(objects, folder or None)["objects"]


def _whatever_their_names(bucket: str, folder: str, recursive: bool) -> list[ObjectVersion]:
    return [
        _with_e_tag(bucket, entry.key, entry.size_bytes, f'"{entry.e_tag}"' if entry.e_tag else None)
        for entry in s3_any_name.entries(bucket, folder, recursive=recursive)
        if entry.size_bytes or not entry.key.endswith("/")
    ]


def _markers(empty: list[ObjectVersion]) -> set[ObjectVersion]:
    """Those of them that are folders' markers: the listing loses the slash in which their keys end."""

    def is_marker(version: ObjectVersion) -> bool:
        try:
            return find_object(version.bucket, version.key) is None
        except PermissionError:  # reading it will say so
            return False

    with ThreadPoolExecutor(_MARKER_CHECKS) as pool:
        return {version for version, found in zip(empty, pool.map(is_marker, empty), strict=True) if found}


def _version(bucket: str, entry: ObjectMeta) -> ObjectVersion:
    return _with_e_tag(bucket, entry["path"], entry["size"], entry["e_tag"])


def _with_e_tag(bucket: str, key: str, size_bytes: int, e_tag: str | None) -> ObjectVersion:
    if e_tag is None:
        raise JobError([f"input: the server of 's3://{bucket}' gives no ETags, so changes would go unnoticed"])
    return ObjectVersion(bucket, key, size_bytes, e_tag)


@contextmanager
def _errors(action: str, bucket: str, key: str) -> Iterator[None]:
    where = f"s3://{bucket}/{key}".rstrip("/")
    try:
        yield
    except (InvalidPathError, ValueError) as error:  # a key with an empty part, "..", or a control character
        problem = str(error).splitlines()[0]
        raise JobError([f"input: a key under '{where}' cannot be used ({problem}); rename the object"]) from error
    except BaseError as error:
        reason = s3.explain(error, action, bucket, key)
        if s3.is_outage(error):
            raise StoreError(f"input: cannot {action} '{where}': {reason}") from error
        raise JobError([f"input: cannot {action} '{where}': {reason}"]) from error
