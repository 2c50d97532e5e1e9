"""A source tree in a local folder: one document per file, folder by folder, in the order of their names.

Nothing outside the folder is ever read: links are not followed, even if somebody changes the tree meanwhile. Memory
holds one file, and the names in the folders that are open.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.documents.code.reading.changes import show_file
from pipelines.documents.code.records import LeftOut
from pipelines.documents.code.rules import (
    MAX_FOLDERS_DEEP,
    Why,
    check_path,
    left_out_by_path,
    left_out_by_size,
    left_out_folder,
    printable,
)
from pipelines.documents.readers.lines import Unreadable
from pipelines.documents.records import Document
from pipelines.documents.sources.own_places import DETAILS, NOWHERE, Identity, Kind, OwnPlaces, holds_run
from pipelines.errors import JobError, StoreError

_NO_LINK = Why("symlink", "a symbolic link; not followed")
# Without O_NONBLOCK, opening a pipe that somebody put in a file's place would wait for ever.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_folder(location: str, max_document_bytes: int, own: OwnPlaces = NOWHERE) -> Iterator[Document | LeftOut]:
    """Streams the files below a folder as shown text, and what is left out; ``.git`` is not part of the tree.

    Raises:
        JobError: there is no such folder, or nothing in it.
        StoreError: reading fails for a reason that is no file's fault.
    """
    root = os.path.abspath(os.path.expanduser(location))
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise JobError(
            [f"input: cannot read the folder {location!r} ({error.strerror}); name a source tree"]
        ) from error
    is_empty = True
    try:
        folders = own.folders()
        holds_runs = folders.pop(_identity(descriptor), None) == "output"
        for found in _Tree(root, max_document_bytes, folders, holds_runs).read(descriptor, "", 0):
            is_empty = False
            yield found
    finally:
        os.close(descriptor)
    if is_empty:
        raise JobError([f"input: the folder {location!r} is empty; name a source tree"])


@dataclass(frozen=True, slots=True)
class _Tree:
    root: str
    max_document_bytes: int
    own: Mapping[Identity, Kind]
    holds_runs: bool

    def read(self, descriptor: int, folder: str, depth: int) -> Iterator[Document | LeftOut]:
        with os.scandir(descriptor) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            if name == ".git":
                continue
            path = f"{folder}{name}"
            try:
                check_path(path)
                if stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                    yield from self._read_folder(descriptor, name, path, depth + 1)
                else:
                    yield self._read_file(descriptor, name, path)
            except (Unreadable, OSError) as error:
                yield self._failed(path, _reason(path, error))

    def _read_folder(self, descriptor: int, name: str, path: str, depth: int) -> Iterator[Document | LeftOut]:
        why = left_out_folder(path)
        if why is not None:
            yield why.at(f"{path}/", self.root)
            return
        if depth > MAX_FOLDERS_DEEP:
            raise Unreadable(f"is more than {MAX_FOLDERS_DEEP} folders deep; review its parent on its own")
        with _opened(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, descriptor) as inner:
            kind = self.own.get(_identity(inner))
            if kind is None and self.holds_runs and "/" not in path and holds_run(f"{self.root}/{path}"):
                kind = "output"
            if kind is not None:
                yield LeftOut(self.root, f"{path}/", kind, DETAILS[kind])
                return
            yield from self.read(inner, f"{path}/", depth)

    def _read_file(self, descriptor: int, name: str, path: str) -> Document | LeftOut:
        mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
        why = _NO_LINK if stat.S_ISLNK(mode) else left_out_by_path(path)
        if why is not None:
            return why.at(path, self.root)
        with _opened(name, _READ, descriptor) as file:
            info = os.fstat(file)
            if not stat.S_ISREG(info.st_mode):
                return Why("binary", "not a regular file").at(path, self.root)
            why = left_out_by_size(info.st_size)
            if why is not None:
                return why.at(path, self.root)
            data = _read_up_to(file, info.st_size)
        document = Document(path, f"{self.root}/{path}", 0, None)
        return show_file(document, path, data, self.root, self.max_document_bytes)

    def _failed(self, path: str, reason: str) -> Document:
        shown = printable(path)
        return Document(shown, f"{self.root}/{shown}", 0, None, failure=f"{shown}: {reason}")


def _identity(descriptor: int) -> Identity:
    info = os.fstat(descriptor)
    return info.st_dev, info.st_ino


@contextmanager
def _opened(name: str, flags: int, folder: int) -> Iterator[int]:
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_up_to(file: int, size_bytes: int) -> bytes:
    """As much as was there when the file was opened: one that grows meanwhile is no larger for us."""
    with os.fdopen(file, "rb", closefd=False) as stream:
        return stream.read(size_bytes)


def _reason(path: str, error: Unreadable | OSError) -> str:
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); grant read access"
    if isinstance(error, FileNotFoundError):
        return "gone since it was listed; put it back or start a new run"
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "became a link while it was listed; leave the tree alone or start a new run"
    raise StoreError(f"input: reading {path!r} failed ({error.strerror}); what is committed is kept, resume the run")
