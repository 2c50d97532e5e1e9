"""Reading one version of one S3 object: in pieces, in flat memory, and never a byte of another version.

In: a bucket, a key, and the size and ETag under which the object was listed. Out: its bytes, or the reason why they
are not to be had. Every request carries If-Match, so that an object which is replaced while it is read is noticed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PreconditionError

from pipelines.errors import StoreError
from pipelines.store import s3

if TYPE_CHECKING:
    from obstore import GetOptions

PIECE_BYTES = 8 * 1024 * 1024  # large enough to hide a request's latency; two of them are in memory


class ObjectUnavailable(Exception):
    """An input that cannot be read as it was listed. Its text is what is wrong, and after a semicolon the next move."""


CHANGED = "changed since the run was planned; start a new run to read the new version"
GONE = "gone since it was listed; put it back or start a new run"


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """An object as it was listed."""

    bucket: str
    key: str
    size_bytes: int
    e_tag: str

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` to ``stop``, or to the end.

        Raises:
            ObjectUnavailable: it has changed, is gone, or may not be read.
            StoreError: S3 does not answer, or refuses these credentials altogether.
        """
        stop = self.size_bytes if stop is None else min(stop, self.size_bytes)
        options: GetOptions = {"if_match": self.e_tag}
        if (start, stop) != (0, self.size_bytes):
            if start >= stop:
                return b""
            options["range"] = (start, stop)
        try:
            return bytes(obstore.get(s3.open_bucket(self.bucket), self.key, options=options).bytes())
        except PreconditionError as error:
            raise ObjectUnavailable(CHANGED) from error
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) and not s3.is_missing_bucket(error):
                raise ObjectUnavailable(GONE) from error
            reason = s3.explain(error, "read", self.bucket, self.key)
            if s3.is_access_denied(error):
                raise ObjectUnavailable(f"may not be read ({reason})") from error
            uri = f"s3://{self.bucket}/{self.key}"
            raise StoreError(f"input: cannot read '{uri}': {reason}") from error


class ObjectStream(io.RawIOBase):
    """Front to back, the next piece under way while one is read; ``whole`` is the object if it is here already."""

    def __init__(self, version: ObjectVersion, whole: bytes | None = None) -> None:
        self._pieces = _pieces(version, whole)
        self._piece = b""
        self._offset = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; fewer at the end of a piece, none at the end of the object."""
        if size < 0:
            return self._take(len(self._piece)) + b"".join(self._pieces)
        if self._offset == len(self._piece):
            self._piece, self._offset = next(self._pieces, b""), 0
        return self._take(size)

    read1 = read

    def readable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Stop asking for pieces of the object."""
        self._pieces.close()
        super().close()

    def _take(self, size: int) -> bytes:
        start, self._offset = self._offset, min(self._offset + size, len(self._piece))
        return self._piece[start : self._offset]


def _pieces(version: ObjectVersion, whole: bytes | None) -> Generator[bytes, None, None]:
    if version.size_bytes <= PIECE_BYTES:
        yield version.read() if whole is None else whole
        return
    with ThreadPoolExecutor(1, thread_name_prefix="next-piece") as reader:
        ahead = reader.submit(version.read, 0, PIECE_BYTES)
        for start in range(PIECE_BYTES, version.size_bytes, PIECE_BYTES):
            piece, ahead = ahead.result(), reader.submit(version.read, start, start + PIECE_BYTES)
            yield piece
        yield ahead.result()


class ObjectFile(io.RawIOBase):
    """Random access; each read is one request."""

    def __init__(self, version: ObjectVersion) -> None:
        self._version = version
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        """The next ``size`` bytes, or all that are left."""
        data = self._version.read(self._position, None if size < 0 else self._position + size)
        self._position += len(data)
        return data

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; nothing is asked of S3."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._version.size_bytes}
        self._position = base[whence] + offset
        return self._position

    def tell(self) -> int:
        """Offset at which the next read begins."""
        return self._position
