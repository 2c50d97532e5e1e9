"""The store: named immutable objects under one root, in a local folder or on S3.

Writing is *create, once*: a conditional create that never replaces (If-None-Match on S3, an exclusive hard link
locally). State is which objects exist; nothing is rewritten. The only room that touches files or S3 for results.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from io import FileIO, IOBase, RawIOBase
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError
from obstore.store import LocalStore, ObjectStore

from pipelines.errors import StoreError
from pipelines.store import s3, s3_any_name
from pipelines.store.regular_files import open_regular

# Locally, half-written files live here until they are linked into place. pyarrow's dataset reader ignores names
# that begin with an underscore, so a kill cannot leave something in results/ that breaks reading it.
_STAGING = "_staging"
# What S3 takes in one request. A conditional create is one request; a part is some megabytes, thousands of times less.
_MAX_S3_OBJECT_BYTES = 5 * 1024**3
# S3 may refuse both of two creates that meet ("409, try again"), and then there is nothing to compare with.
_CONFLICT_TRIES = 10
_LIST_PAGE = 1_000
# A Parquet file's footer, or a column that says little, in one request.
_READ_AHEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Listed:
    """An object as a listing tells of it."""

    key: str
    size_bytes: int
    created_at: datetime  # by the store's clock; nothing is rewritten


class Store:
    """Objects below ``root`` (a local path or an ``s3://`` URI)."""

    def __init__(self, root: str) -> None:
        scheme = urlsplit(root).scheme
        self._is_local = scheme in ("", "file")
        if not self._is_local and scheme != "s3":
            raise StoreError(f"cannot open the store '{root}': it is of an unknown kind; give a folder or an s3:// URI")
        if self._is_local:
            self.root = os.path.abspath(urlsplit(root).path if scheme else root)
            self._objects: ObjectStore = _open_folder(self.root, root)
        else:
            bucket, prefix = s3.split_uri(root)
            self.root = f"s3://{bucket}/{prefix}".rstrip("/")
            self._objects = s3.open_bucket(bucket, prefix)

    @property
    def run_root(self) -> str:
        """Where the run lies that a process works on; of one of several questions, another than its own root."""
        return self.root

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
        for _ in range(_CONFLICT_TRIES):
            try:
                with self._errors("write", key):
                    self._create(key, data)
            except AlreadyExistsError:
                found = self.read_if_exists(key)
                if found is not None:
                    return found == data
            else:
                return True
        raise StoreError(
            f"cannot write '{self.uri(key)}': S3 reports a conflict {_CONFLICT_TRIES} times, yet there is no such "
            "object; run the same command again"
        )

    def _create(self, key: str, data: bytes) -> None:
        if not self._is_local:
            if len(data) > _MAX_S3_OBJECT_BYTES:
                raise StoreError(
                    f"cannot write '{self.uri(key)}': {len(data):,} bytes, where S3 takes {_MAX_S3_OBJECT_BYTES:,} in "
                    "one request; parts should be far smaller: please report this"
                )
            s3.repeating_creates()(obstore.put, self._objects, key, data, mode="create")
            return
        staged = f"{_STAGING}/{uuid.uuid4().hex}"
        obstore.put(self._objects, staged, data)
        try:
            obstore.rename(self._objects, staged, key, overwrite=False)
        except AlreadyExistsError:
            obstore.delete(self._objects, staged)
            raise

    def try_writing(self) -> str | None:
        """Create a small object, read it, and remove it.

        Returns:
            Where it still is, if it may not be removed: a run removes nothing on S3, and needs no right to.

        Raises:
            StoreError: a run could not write here.
        """
        key = f"{_STAGING}/probe-{uuid.uuid4().hex}"
        with self._errors("write", key):
            # One request, as a commit is; locally what is written is renamed from such a name.
            obstore.put(self._objects, key, b"probe", mode="create")
        self.read(key)
        try:
            obstore.delete(self._objects, key)
        except (BaseError, OSError):
            return self.uri(key)
        if self._is_local:
            with suppress(OSError):  # others stage something there
                Path(self.root, _STAGING).rmdir()
        return None

    def folders(self) -> list[str]:
        """Names of the folders directly below the root."""
        with self._errors("list", ""):
            try:
                found = obstore.list_with_delimiter(self._objects)["common_prefixes"]
                return [str(path).rstrip("/") for path in found]
            except InvalidPathError:  # a stranger's key beside them
                if self._is_local:
                    raise
        return s3_any_name.folders(*s3.split_uri(self.root))

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
        """Read a whole object; None where there is none."""
        try:
            with self._errors("read", key):
                return self._read_file(key) if self._is_local else bytes(obstore.get(self._objects, key).bytes())
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of that name."""
        try:
            with self._errors("read", key):
                return self._is_there(key)
        except FileNotFoundError:
            return False

    def _open_file(self, key: str) -> FileIO:
        """Open an object of a local folder; obstore would wait for a pipe that a stranger laid in its place."""
        try:
            return open_regular(Path(self.root, key))
        except IsADirectoryError as error:  # on S3 there are no folders
            raise FileNotFoundError(error.errno, error.strerror, error.filename) from error

    def _read_file(self, key: str) -> bytes:
        with self._open_file(key) as file:
            return file.readall()

    def _is_there(self, key: str) -> bool:
        if self._is_local:
            self._open_file(key).close()
            return True
        try:
            obstore.head(self._objects, key)
        except BaseError as error:
            if not s3.is_refused(error):
                raise
            return self.read_if_exists(key) is not None  # refused with a reason, where a HEAD has none
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below the folder ``prefix``, in no promised order."""
        with self._errors("list", prefix):
            for batch in obstore.list(self._objects, prefix=prefix, chunk_size=_LIST_PAGE):
                for entry in batch:
                    yield entry["path"]

    def listing(self, prefix: str, after: str | None = None) -> Iterator[Listed]:
        """The same with sizes and times; with ``after``, only keys beyond that one: S3 is asked for no others."""
        with self._errors("list", prefix):
            for batch in obstore.list(self._objects, prefix=prefix, offset=after, chunk_size=_LIST_PAGE):
                for entry in batch:
                    yield Listed(entry["path"], entry["size"], entry["last_modified"])

    @contextmanager
    def opened(self, key: str) -> Iterator[IOBase]:
        """The object as a file to read parts of, such as some columns; of S3, little more than those is fetched.

        Raises:
            StoreError: it is not there, or cannot be read.
        """
        try:
            with self._errors("read", key):
                if self._is_local:
                    with self._open_file(key) as file:
                        yield file
                else:
                    yield _Ranges(self._objects, key)
        except FileNotFoundError:
            raise StoreError(f"'{self.uri(key)}' is missing; was it deleted?") from None

    def clear_staging(self) -> None:
        """Remove what killed processes left half-written. Only for a finished run: nobody writes any more."""
        if self._is_local:  # by the file system: obstore does not list its own half-written files (`name#1`)
            shutil.rmtree(Path(self.root) / _STAGING, ignore_errors=True)

    @contextmanager
    def _errors(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except AlreadyExistsError:
            raise
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) and not s3.is_missing_bucket(error):
                raise
            raise StoreError(f"cannot {action} '{self.uri(key)}': {self._reason(error, action, key)}") from error

    def _reason(self, error: Exception, action: str, key: str) -> str:
        return _local_reason(error) if self._is_local else s3.explain(error, action, *s3.split_uri(self.uri(key)))


class _Ranges(RawIOBase):
    """An object read where it is wanted; obstore's own file says too little of itself for pyarrow."""

    def __init__(self, objects: ObjectStore, key: str) -> None:
        self._file = obstore.open_reader(objects, key, buffer_size=_READ_AHEAD_BYTES)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        return bytes(self._file.readall() if size < 0 else self._file.read(size))


def _open_folder(path: str, root: str) -> LocalStore:
    try:
        return LocalStore(prefix=path, mkdir=True)
    except (BaseError, OSError) as error:
        raise StoreError(f"cannot open the store '{root}': {_local_reason(error)}") from error


def _local_reason(error: Exception) -> str:
    """The library's own words, cut to the first line, with the next move for the usual causes."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    lowered = str(error).lower()
    if "no space left" in lowered:
        return "the disk is full; free some space and run the same command again: nothing committed is lost"
    if "permission denied" in lowered or "read-only file system" in lowered:
        return "permission denied; choose another `output` or change the folder's permissions"
    return text
