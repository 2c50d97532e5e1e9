"""Where documents lie: lists the files behind an input location and opens them, local or on S3.

In: a file, folder, glob, file:// or s3:// URI. Out: ``SourceFile`` records, and byte streams of them.
Knows nothing of file formats. Errors are sorted here, so that no reader has to guess what an ``OSError``
means: a missing or forbidden file surfaces as itself and one that is not what was listed as ``ObjectUnavailable``
(the document's problem), a store that stops answering as ``StoreError`` (the run's problem), and whatever else a
stream raises is damage in the compressed data.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import zlib
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import pyarrow as pa

from pipelines.documents.left_out import told_left_out
from pipelines.documents.names import problem_of_name
from pipelines.documents.records import Listing, SourceFile
from pipelines.documents.sources.local_folder import file_version
from pipelines.documents.sources.own_places import NOWHERE, OwnPlaces
from pipelines.documents.sources.places import find_sources, locate
from pipelines.errors import JobError, NoInputError, StoreError
from pipelines.store import s3
from pipelines.store.regular_files import lies_below, open_regular
from pipelines.store.s3_reading import CHANGED, ObjectFile, ObjectStream, ObjectUnavailable, ObjectVersion

COMPRESSIONS = (".gz", ".gzip", ".zst", ".zstd")
_HEAD_BYTES = 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # from the second byte on; some writers begin with such a frame
# Text shrinks to a hundredth at best; a bomb, to a thousandth and less. Small ones are let go: they cost little.
MAX_EXPANSION = 200
EXPANSION_FREE_BYTES = 64 * 1024 * 1024
# Small objects are fetched before their turn, so many at once that their latency is shared: at most 64 MiB in memory.
_SMALL_BYTES = 1024 * 1024
_FETCHED_AHEAD = 64
_FETCHED_AT_ONCE = 16
_HASHED_AT_ONCE = 1024 * 1024
# What opening says of a pipe, device, socket, folder or circle of links that took a listed file's place.
_NO_LONGER_A_FILE = (errno.EINVAL, errno.ENXIO, errno.EISDIR, errno.ELOOP, errno.ENOTDIR)


class ByteStream(Protocol):
    """What a reader may ask of an open source."""

    def read1(self, size: int, /) -> bytes:
        """The next bytes, at most ``size`` of them; ``b""`` at the end."""


def list_sources(location: str) -> list[SourceFile]:
    """The files at a location: see `list_input`."""
    return list_input(location).sources


def list_input(location: str, own: OwnPlaces = NOWHERE) -> Listing:
    """Lists what is at a location, sorted by path; what cannot be read comes last.

    Hidden files, unfinished uploads and what is no file are left out, as is what lies in the job's ``own`` places.

    Raises:
        NoInputError: nothing is there to read.
        JobError: it cannot be listed.
        StoreError: S3 cannot be reached.
    """
    if problem := problem_of_name(location):
        raise JobError([f"input: {location!r} cannot be used ({problem})"])
    try:
        found = find_sources(*locate(location), own)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise JobError([f"input: cannot list {location!r} ({reason}); check access and spelling"]) from error
    if not found.sources:
        raise NoInputError([_nothing_at(location, found)])
    # What can be read keeps its ids, whatever else has come to lie beside it.
    return Listing(sorted(found.sources, key=lambda source: (source.problem is not None, source.path)), found.left_out)


def _nothing_at(location: str, found: Listing) -> str:
    if not found.left_out:
        return f"input: nothing found at {location!r}; give a file, a folder, a glob or an s3:// prefix"
    told = told_left_out(Counter(each.reason for each in found.left_out))
    return f"input: nothing to read at {location!r}; left out: {told}. Rename what shall be read, or name another place"


def content_of(source: SourceFile) -> str:
    """A hash of what a local file holds; its version where there is no such file to read, or it is on S3.

    Raises:
        StoreError: the disk fails.
    """
    if source.problem is not None or _is_object(source):
        return source.version
    try:
        with _open_local(source) as file:
            digest = hashlib.sha256()
            while block := file.read(_HASHED_AT_ONCE):
                digest.update(block)
    except (FileNotFoundError, PermissionError, ObjectUnavailable):
        return source.version
    return f"sha256-{digest.hexdigest()}"


def read_ahead(sources: Iterable[SourceFile]) -> Generator[SourceFile, None, None]:
    """The same sources, the next small S3 objects among them fetched while the present one is worked on."""
    waiting: deque[SourceFile] = deque()
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="read-ahead") as pool:
        try:
            for source in sources:
                if _is_object(source) and source.size_bytes <= _SMALL_BYTES:
                    waiting.append(_fetch(source, pool))
                else:
                    waiting.append(source)
                if len(waiting) > _FETCHED_AHEAD:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _FetchedSource(SourceFile):
    """A source that is here already, or on its way."""

    content: Future[bytes]


def _fetch(source: SourceFile, pool: ThreadPoolExecutor) -> SourceFile:
    content = pool.submit(_version(source).read)
    return _FetchedSource(source.uri, source.path, source.size_bytes, source.version, content)


@contextmanager
def open_source(source: SourceFile) -> Iterator[ByteStream]:
    """Opens a source for reading front to back; gzip (also of several members) and zstd are decompressed.

    What is compressed is told by its first bytes: names are wrong where something on the way has unpacked a file.
    gzip goes through the standard library because it hands over every byte before a cut, where Arrow's
    stream drops what it has decompressed when the read that meets the cut fails.
    """
    with _open_stream(source) as raw:
        counted = _Counted(raw)
        head = counted.peek(4)
        if head.startswith(_GZIP):
            with gzip.GzipFile(fileobj=counted, mode="rb") as unzipped:
                yield _Expanded(unzipped, counted)
        elif head == _ZSTD or head[1:] == _ZSTD_SKIPPABLE:
            with pa.CompressedInputStream(pa.PythonFile(counted, mode="r"), "zstd") as unpacked:
                yield _Expanded(cast(ByteStream, unpacked), counted)  # the stubs give its read1 no size
        else:
            yield counted


def head_of(source: SourceFile) -> bytes:
    """The first bytes of what a source holds, decompressed if they are gzip: enough to tell what it is."""
    with _open_for_access(source) as raw:
        head = raw.read(_HEAD_BYTES)
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    except zlib.error:  # reading it will tell
        return b""


class _Counted(io.RawIOBase):
    """A stream whose first bytes can be looked at, and that knows how many have been read."""

    def __init__(self, raw: ObjectStream | _LocalFile) -> None:
        self._raw = raw
        self._head = b""
        self.read_bytes = 0

    def peek(self, size: int) -> bytes:
        """The first bytes, fewer only where there are no more."""
        while len(self._head) < size and (more := self._raw.read(size - len(self._head))):
            self._head += more
        return self._head

    def read(self, size: int = -1, /) -> bytes:
        if self._head and size != 0:
            cut = len(self._head) if size < 0 else size
            block, self._head = self._head[:cut], self._head[cut:]
            if size < 0:
                block += self._raw.read()
        else:
            block = self._raw.read(size)
        self.read_bytes += len(block)
        return block

    read1 = read

    def readable(self) -> bool:
        return True


class _Expanded:
    """A decompressed stream that ends in a refusal where a little data becomes very much."""

    def __init__(self, unpacked: ByteStream, packed: _Counted) -> None:
        self._unpacked = unpacked
        self._packed = packed
        self._size_bytes = 0

    def read1(self, size: int, /) -> bytes:
        block = self._unpacked.read1(size)
        self._size_bytes += len(block)
        if self._size_bytes > max(EXPANSION_FREE_BYTES, self._packed.read_bytes * MAX_EXPANSION):
            raise ObjectUnavailable(
                f"its compressed data becomes more than {MAX_EXPANSION} times as much; if it is meant, decompress it"
            )
        return block


@contextmanager
def open_seekable(source: SourceFile) -> Iterator[pa.NativeFile]:
    """Opens a source for random access, as Parquet needs; nothing is decompressed."""
    with _open_for_access(source) as raw, pa.PythonFile(raw, mode="r") as file:
        yield file


def _open_stream(source: SourceFile) -> ObjectStream | _LocalFile:
    if _is_object(source):
        return ObjectStream(_version(source), _fetched(source))
    return _open_local(source)


def _open_for_access(source: SourceFile) -> ObjectFile | io.BytesIO | _LocalFile:
    if not _is_object(source):
        return _open_local(source)
    whole = _fetched(source)
    return ObjectFile(_version(source)) if whole is None else io.BytesIO(whole)


def _fetched(source: SourceFile) -> bytes | None:
    return source.content.result() if isinstance(source, _FetchedSource) else None


def _is_object(source: SourceFile) -> bool:
    return source.uri.startswith("s3://")


def _version(source: SourceFile) -> ObjectVersion:
    return ObjectVersion(*s3.split_uri(source.uri), source.size_bytes, source.version)


class _LocalFile(io.RawIOBase):
    """A local file whose read errors are the run's: without it, a failing disk would look like bad data."""

    def __init__(self, file: io.BufferedReader[io.FileIO], uri: str) -> None:
        self._file = file
        self._uri = uri

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise _store_error(self._uri, error) from error

    read1 = read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_local(source: SourceFile) -> _LocalFile:
    try:
        file = io.BufferedReader(open_regular(source.uri))
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        if error.errno in _NO_LONGER_A_FILE:
            raise ObjectUnavailable(CHANGED) from error
        raise _store_error(source.uri, error) from error
    if not _is_what_was_listed(source, os.fstat(file.fileno())):
        file.close()
        raise ObjectUnavailable(CHANGED)
    return _LocalFile(file, source.uri)


def _is_what_was_listed(source: SourceFile, opened: os.stat_result) -> bool:
    """Whether the open file is the listed version, and lies in the input: a link may have been put in its place."""
    is_below_root = source.uri.endswith(f"/{source.path}")
    root = source.uri[: -len(source.path)] if is_below_root else os.path.dirname(source.uri)
    return file_version(opened) == source.version and lies_below(opened, source.uri, root)


def _store_error(uri: str, error: OSError) -> StoreError:
    return StoreError(f"input: reading {uri!r} failed ({error}); what is committed is kept, resume the run")
