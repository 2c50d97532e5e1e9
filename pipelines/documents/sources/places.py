"""Where to look for source files: a local file system or an S3 bucket, by name, folder or glob.

In: an input location. Out: the ``SourceFile`` records found there, each with the version that reading it must meet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from pipelines.documents.names import DETAILS, ignored_part, problem_of_name, shown_name
from pipelines.documents.records import LeftOut, Listing, Reason, SourceFile
from pipelines.documents.sources import own_places
from pipelines.documents.sources.local_folder import find_file, list_folder
from pipelines.documents.sources.own_places import OwnPlaces, runs_in
from pipelines.errors import JobError
from pipelines.store import s3
from pipelines.store.s3_any_name import is_usable
from pipelines.store.s3_listing import find_object, list_objects
from pipelines.store.s3_reading import ObjectVersion

_UNUSABLE = "its name has an empty part, or one that is `.` or `..`, which no request can carry; rename it"
_GLOB = re.compile(r"[*?\[]")


class Place(Protocol):
    """Somewhere to look for sources; the paths of those found are whole ones still."""

    def find(self, path: str) -> SourceFile | None:
        """The file of exactly this name."""

    def list(self, folder: str, own: OwnPlaces, *, recursive: bool) -> Listing:
        """What is in a folder; nothing where there is no such folder."""


class _Folders:
    """Folders of the local file system, as places to read from."""

    def find(self, path: str) -> SourceFile | None:
        return find_file(path)

    def list(self, folder: str, own: OwnPlaces, *, recursive: bool) -> Listing:
        return list_folder(folder, own, recursive=recursive)


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

    def list(self, folder: str, own: OwnPlaces, *, recursive: bool) -> Listing:
        found, root = Listing([], []), f"s3://{self.name}/{folder}".rstrip("/")
        versions = list_objects(self.name, folder, recursive=recursive)
        runs = runs_in({version.key for version in versions}, folder)
        told: set[str] = set()
        for version in versions:
            left_out = _left_out(version, own, folder, runs)
            if left_out is None:
                found.sources.append(_object_source(version))
            elif left_out[0] not in told:
                told.add(left_out[0])
                found.left_out.append(LeftOut(root, *left_out))
        return found


def _left_out(
    version: ObjectVersion, own: OwnPlaces, folder: str, runs: Collection[str]
) -> tuple[str, Reason, str] | None:
    if part := own.part_of(version.key, version.bucket, folder, runs):
        return part, "output", own_places.DETAILS["output"]
    if ignored := ignored_part(_relative(version.key, folder)):
        path, reason = ignored
        return path, reason, DETAILS[reason]
    return None


def _object_source(version: ObjectVersion) -> SourceFile:
    uri, key = f"s3://{version.bucket}/{version.key}", version.key
    if problem := problem_of_name(key):
        uri = f"s3://{version.bucket}/{quote(key)}"  # like no other's, whatever else is called what is shown
    elif not is_usable(key):
        problem = _UNUSABLE
    else:
        return SourceFile(uri, key, version.size_bytes, version.e_tag)
    return SourceFile(uri, shown_name(key), 0, f"unreadable: {problem}", problem=problem)


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


def find_sources(place: Place, path: str, own: OwnPlaces) -> Listing:
    """What lies under a name, a folder or a glob, with paths relative to the folder that it begins with.

    What exists under the exact name wins over reading the name as a glob, and a file named outright is taken
    even if it is hidden. Of a glob, only what it asks for is told.

    Raises:
        JobError: S3 refuses.
        OSError: the file system does, or S3 says neither yes nor no.
        StoreError: S3 cannot be reached.
    """
    denied: PermissionError | None = None
    try:
        if source := place.find(path):
            return Listing([replace(source, path=os.path.basename(path))], [])
    except PermissionError as error:  # there may yet be a folder of that name
        denied = error
    found = _relative_to(path, place.list(path, own, recursive=True))
    first_special = _GLOB.search(path)
    if not found.sources and first_special is not None:
        root = path[: max(path.rfind("/", 0, first_special.start()), 0)]
        pattern = _relative(path, root)
        matches = re.compile(_glob_to_regex(pattern)).fullmatch
        deep = "/" in pattern or "**" in pattern
        everything = _relative_to(root, place.list(root, own, recursive=deep))
        found = Listing(
            [source for source in everything.sources if matches(source.path)],
            [each for each in everything.left_out if matches(each.path) or (deep and each.path.endswith("/"))],
        )
    if not found.sources and denied is not None:
        raise denied
    return found


def _relative_to(root: str, found: Listing) -> Listing:
    return Listing([replace(source, path=_relative(source.path, root)) for source in found.sources], found.left_out)


def _relative(path: str, root: str) -> str:
    # One slash: of `inbox//a`, the name is `/a`, and another than that of `inbox/a`.
    return path[len(root.rstrip("/")) :].removeprefix("/")


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
