"""The store: named immutable objects under one root, in a local folder or on S3.

Writing is *create, once*: a conditional create that never replaces (If-None-Match on S3, an exclusive hard link
locally). State is which objects exist; nothing is rewritten. The only room that touches files or S3 for results.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from pipelines.errors import StoreError

# Locally, half-written files live here until they are linked into place. pyarrow's dataset reader ignores names
# that begin with an underscore, so a kill cannot leave something in results/ that breaks reading it.
_STAGING = "_staging"


class Store:
    """Objects below ``root`` (a local path or an ``s3://`` URI)."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        scheme = urlsplit(root).scheme
        self._is_local = scheme in ("", "file")
        try:
            if self._is_local:
                path = Path(urlsplit(root).path if scheme else root)
                self.root = os.path.abspath(path)
                self._objects: ObjectStore = LocalStore(prefix=self.root, mkdir=True)
            else:
                self._objects = from_url(self.root)
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot open the store '{root}': {_reason(error)}") from error

    def uri(self, key: str) -> str:
        """What a person can open: a path or an s3:// URI."""
        return f"{self.root}/{key}"

    def create(self, key: str, data: bytes) -> bool:
        """Create ``key`` unless it exists. True if the object there is the one given here.

        A lost reply looks like a lost race: the library retries, meets its own object and reports a conflict. So on
        conflict the object is read back and compared; writers that must know who won put a unique token in ``data``.
        """
        if self._is_local and Path(self.root, key).is_file():  # spares the staging folder of a finished run
            return self.read(key) == data
        try:
            with self._errors("write", key):
                self._create(key, data)
        except AlreadyExistsError:
            return self.read(key) == data
        return True

    def _create(self, key: str, data: bytes) -> None:
        if not self._is_local:
            obstore.put(self._objects, key, data, mode="create")
            return
        staged = f"{_STAGING}/{uuid.uuid4().hex}"
        obstore.put(self._objects, staged, data)
        try:
            obstore.rename(self._objects, staged, key, overwrite=False)
        except AlreadyExistsError:
            obstore.delete(self._objects, staged)
            raise

    def read(self, key: str) -> bytes:
        """The whole object.

        Raises:
            StoreError: it is not there, or cannot be read.
        """
        data = self.read_if_exists(key)
        if data is None:
            raise StoreError(f"'{self.uri(key)}' is missing; was it deleted? Start a new run with another --run-id")
        return data

    def read_if_exists(self, key: str) -> bytes | None:
        """The whole object, or None."""
        try:
            with self._errors("read", key):
                return bytes(obstore.get(self._objects, key).bytes())
        except (NotFoundError, FileNotFoundError):
            return None

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            with self._errors("read", key):
                obstore.head(self._objects, key)
        except (NotFoundError, FileNotFoundError):
            return False
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below the folder ``prefix``, in no promised order."""
        with self._errors("list", prefix):
            for batch in obstore.list(self._objects, prefix=prefix):
                for entry in batch:
                    yield entry["path"]

    def clear_staging(self) -> None:
        """Remove what killed processes left half-written. Only for a finished run: nobody writes any more."""
        if self._is_local:  # by the file system: obstore does not list its own half-written files (`name#1`)
            shutil.rmtree(Path(self.root) / _STAGING, ignore_errors=True)

    @contextmanager
    def _errors(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except (AlreadyExistsError, NotFoundError, FileNotFoundError):
            raise
        except (BaseError, OSError) as error:
            raise StoreError(f"cannot {action} '{self.uri(key)}': {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The library's own words, cut to the first line, with the next move for the usual causes."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    lowered = str(error).lower()
    if "no space left" in lowered:
        return "the disk is full; free some space and run the same command again: nothing committed is lost"
    if "permission denied" in lowered or "read-only file system" in lowered:
        return "permission denied; choose another `output` or change the folder's permissions"
    return text
