"""Where to look for source files: a local file system or an S3 bucket, by name, folder or glob.

In: an input location. Out: the ``SourceFile`` records found there, each with the version that reading it must meet.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pyarrow import fs

from pipelines.documents.records import SourceFile
from pipelines.errors import JobError
from pipelines.store import s3
from pipelines.store.s3_listing import find_object, list_objects
from pipelines.store.s3_reading import ObjectVersion

_UNFINISHED = (".part", ".tmp")  # uploads under way
_GLOB = re.compile(r"[*?\[]")


class Place(Protocol):
    """Somewhere to look for sources; the paths of those found are whole ones still."""

    def find(self, path: str) -> SourceFile | None:
        """The file of exactly this name."""

    def list(self, folder: str, *, recursive: bool) -> list[SourceFile]:
        """The files in a folder; none where there is no such folder."""


class _Folders:
    """The local file system."""

    def __init__(self) -> None:
        self._files = fs.LocalFileSystem()

    def find(self, path: str) -> SourceFile | None:
        info = self._files.get_file_info(path)
        return _local_source(info) if info.is_file else None

    def list(self, folder: str, *, recursive: bool) -> list[SourceFile]:
        selector = fs.FileSelector(folder or "/", recursive=recursive, allow_not_found=True)
        return [_local_source(info) for info in self._files.get_file_info(selector) if info.is_file]


def _local_source(info: fs.FileInfo) -> SourceFile:
    return SourceFile(info.path, info.path, info.size, file_version(info))


def file_version(info: fs.FileInfo) -> str:
    """The version of a local file."""
    return f"{info.mtime_ns}-{info.size}"


@dataclass(frozen=True, slots=True)
class _Bucket:
    """An S3 bucket; ``names_folder`` where the location ends in a slash."""

    name: str
    names_folder: bool

    def find(self, path: str) -> SourceFile | None:
        if not path or self.names_folder:
            return None
        version = find_object(self.name, path)
        return _object_source(version) if version else None

    def list(self, folder: str, *, recursive: bool) -> list[SourceFile]:
        return [_object_source(version) for version in list_objects(self.name, folder, recursive=recursive)]


def _object_source(version: ObjectVersion) -> SourceFile:
    return SourceFile(f"s3://{version.bucket}/{version.key}", version.key, version.size_bytes, version.e_tag)


def locate(location: str) -> tuple[Place, str]:
    """Splits a location into where to look and a path there."""
    if location.startswith("s3://"):
        bucket, key = s3.split_uri(location)
        return _Bucket(bucket, location.endswith("/")), key
    if location.startswith("file://"):
        location = unquote(urlsplit(location).path)
    elif "://" in location:
        raise JobError([f"input: {location!r} is of an unknown kind; give a local path, a file:// or an s3:// URI"])
    return _Folders(), os.path.abspath(os.path.expanduser(location))


def find_sources(place: Place, path: str) -> list[SourceFile]:
    """The files under a name, a folder or a glob, with their paths relative to the folder that it begins with.

    What exists under the exact name wins over reading the name as a glob, and a file named outright is taken
    even if it is hidden. Hidden files and unfinished uploads are left out.

    Raises:
        JobError: S3 refuses.
        OSError: the file system does, or S3 says neither yes nor no.
        StoreError: S3 cannot be reached.
    """
    denied: PermissionError | None = None
    try:
        if source := place.find(path):
            return [replace(source, path=os.path.basename(path))]
    except PermissionError as error:  # there may yet be a folder of that name
        denied = error
    found = _visible_files(place, path, recursive=True)
    root = path
    first_special = _GLOB.search(path)
    if not found and first_special is not None:
        root = path[: max(path.rfind("/", 0, first_special.start()), 0)]
        pattern = _relative(path, root)
        matches = re.compile(_glob_to_regex(pattern)).fullmatch
        deep = "/" in pattern or "**" in pattern
        found = [
            source for source in _visible_files(place, root, recursive=deep) if matches(_relative(source.path, root))
        ]
    if not found and denied is not None:
        raise denied
    return [replace(source, path=_relative(source.path, root)) for source in found]


def _visible_files(place: Place, folder: str, *, recursive: bool) -> list[SourceFile]:
    listed = place.list(folder, recursive=recursive)
    return [source for source in listed if not _is_ignored(_relative(source.path, folder))]


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
