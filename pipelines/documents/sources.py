"""Where documents lie: lists the files behind an input location and opens them, local or on S3.

In: a file, folder, glob, file:// or s3:// URI. Out: ``SourceFile`` records, and byte streams of them.
Knows nothing of file formats. Errors are sorted here, so that no reader has to guess what an ``OSError``
means: a missing or forbidden file surfaces as itself (the document's problem), a store that stops answering
as ``StoreError`` (the run's problem), and whatever else a stream raises is damage in the compressed data.
"""

from __future__ import annotations

import gzip
import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Protocol, cast
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from pipelines.documents.records import SourceFile
from pipelines.errors import JobError, StoreError

COMPRESSIONS = (".gz", ".zst")
_UNFINISHED = (".part", ".tmp")  # uploads under way
_GLOB = re.compile(r"[*?\[]")
_S3_REQUEST_BYTES = 4 * 1024 * 1024  # each refill is one ranged GET: large enough to hide its latency


class ByteStream(Protocol):
    """What a reader may ask of an open source."""

    def read1(self, size: int, /) -> bytes:
        """The next bytes, at most ``size`` of them; ``b""`` at the end."""


def list_sources(location: str) -> list[SourceFile]:
    """Lists the files at a location, sorted by path; hidden files and unfinished uploads are left out.

    Raises:
        JobError: nothing is there, or it cannot be listed.
    """
    try:
        filesystem, path = _locate(location)
        root, found = _find(filesystem, path)
    except UnicodeDecodeError as error:
        raise JobError([f"input: a file name under {location!r} is not UTF-8; rename it"]) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise JobError([f"input: cannot list {location!r} ({error}); check access and spelling"]) from error
    if not found:
        raise JobError([f"input: nothing found at {location!r}; give a file, a folder, a glob or an s3:// prefix"])
    scheme = "s3://" if location.startswith("s3://") else ""
    sources = [
        SourceFile(
            uri=scheme + info.path,
            path=_relative(info.path, root),
            size_bytes=info.size,
            version=f"{info.mtime_ns}-{info.size}",
        )
        for info in found
    ]
    return sorted(sources, key=lambda source: source.path)


@contextmanager
def open_source(source: SourceFile) -> Iterator[ByteStream]:
    """Opens a source for reading front to back; .gz (also of several members) and .zst are decompressed.

    gzip goes through the standard library because it hands over every byte before a cut, where Arrow's
    stream drops what it has decompressed when the read that meets the cut fails.
    """
    with _open(source, seekable=False) as raw:
        if source.path.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=raw, mode="rb") as unzipped:
                yield unzipped
        elif source.path.lower().endswith(".zst"):
            with pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd") as unpacked:
                yield cast(ByteStream, unpacked)  # the stubs give its read1 no size
        else:
            yield raw


@contextmanager
def open_seekable(source: SourceFile) -> Iterator[pa.NativeFile]:
    """Opens a source for random access, as Parquet needs; nothing is decompressed."""
    with _open(source, seekable=True) as raw, pa.PythonFile(raw, mode="r") as file:
        yield file


class _StoreFile(io.RawIOBase):
    """A raw file whose read errors are the store's: without it, a lost connection would look like bad data."""

    def __init__(self, file: pa.NativeFile, uri: str) -> None:
        self._file = file
        self._uri = uri

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._file.read(size if size >= 0 else None)
        except OSError as error:
            raise _store_error(self._uri, error) from error

    read1 = read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def _open(source: SourceFile, *, seekable: bool) -> Iterator[_StoreFile]:
    try:
        filesystem, path = _locate(source.uri)
        if seekable:
            file = filesystem.open_input_file(path)
        else:
            file = filesystem.open_input_stream(path, compression=None, buffer_size=_S3_REQUEST_BYTES)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise _store_error(source.uri, error) from error
    with file:
        yield _StoreFile(file, source.uri)


def _store_error(uri: str, error: OSError) -> StoreError:
    return StoreError(f"input: reading {uri!r} failed ({error}); what is committed is kept, resume the run")


def _locate(location: str) -> tuple[fs.FileSystem, str]:
    """Splits a location into a file system and a path on it.

    S3 keys are cut off by hand: parsed as a URI, a "?" or "%" in a key or glob would change its meaning.
    """
    if location.startswith("s3://"):
        path = location.removeprefix("s3://").rstrip("/")
        return _s3_filesystem(path.partition("/")[0]), path
    if location.startswith("file://"):
        location = unquote(urlsplit(location).path)
    elif "://" in location:
        raise JobError([f"input: {location!r} is of an unknown kind; give a local path, a file:// or an s3:// URI"])
    return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(location))


@lru_cache(maxsize=32)
def _s3_filesystem(bucket: str) -> fs.FileSystem:
    """One client per bucket: making one looks up the bucket's region, and its connections are worth keeping."""
    filesystem, _ = fs.FileSystem.from_uri(f"s3://{bucket}")
    return filesystem


def _find(filesystem: fs.FileSystem, path: str) -> tuple[str, list[fs.FileInfo]]:
    """Returns the root that paths are relative to, and the files.

    What exists under the exact name wins over reading the name as a glob, and a file named outright is taken
    even if it is hidden.
    """
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.File:
        return os.path.dirname(path), [info]
    if info.type == fs.FileType.Directory:
        return path, _visible_files(filesystem, path, recursive=True)
    first_special = _GLOB.search(path)
    if first_special is None:
        return path, []
    root = path[: path.rfind("/", 0, first_special.start())]
    pattern = _relative(path, root)
    matches = re.compile(_glob_to_regex(pattern)).fullmatch
    deep = "/" in pattern or "**" in pattern
    found = _visible_files(filesystem, root or "/", recursive=deep)
    return root, [info for info in found if matches(_relative(info.path, root))]


def _visible_files(filesystem: fs.FileSystem, folder: str, *, recursive: bool) -> list[fs.FileInfo]:
    listed: Iterable[fs.FileInfo] = filesystem.get_file_info(
        fs.FileSelector(folder, recursive=recursive, allow_not_found=True)
    )
    return [info for info in listed if info.is_file and not _is_ignored(_relative(info.path, folder))]


def _is_ignored(path: str) -> bool:
    return path.lower().endswith(_UNFINISHED) or any(part.startswith((".", "_")) for part in path.split("/"))


def _relative(path: str, root: str) -> str:
    return path[len(root.rstrip("/")) :].lstrip("/")


def _glob_to_regex(pattern: str) -> str:
    """``**/`` is any number of folders, ``*`` and ``?`` stay within one, ``[ab]`` and ``[!ab]`` are sets."""
    translations = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", pattern, flags=re.DOTALL)
    return "".join(
        translations.get(token) or (_set_to_regex(token) if len(token) > 1 else re.escape(token)) for token in tokens
    )


def _set_to_regex(token: str) -> str:
    negated = token.startswith("[!")
    members = token[2 if negated else 1 : -1].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return f"[{'^/' if negated else ''}{members.replace('^', chr(92) + '^')}]"
