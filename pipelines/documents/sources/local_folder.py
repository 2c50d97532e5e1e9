"""The files of a local folder, each of them read or told.

What could be a document and cannot be read (a name that cannot be written down, a link to nothing or out of the
folder, a folder that may not be listed) is a source with a ``problem``; what is no document by rule is left out with
its reason. No folder is entered twice, however it is reached, and links are followed only where they stay inside:
whoever may put a link into the folder could otherwise have any file of this machine read, and sent to Claude.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from urllib.parse import quote_from_bytes

from pipelines.documents.names import DETAILS, problem_of_name, shown_name, why_ignored
from pipelines.documents.records import LeftOut, Listing, Reason, SourceFile
from pipelines.documents.sources import own_places
from pipelines.documents.sources.own_places import Identity, OwnPlaces, holds_run
from pipelines.store.regular_files import is_below

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_PROBLEMS: Mapping[int, str] = {
    errno.ENOENT: "is a link to nothing; remove it or put back what it leads to",
    errno.ENOTDIR: "is a link to nothing; remove it or put back what it leads to",
    errno.ELOOP: "is a link that leads in a circle; remove it",
    errno.EACCES: "may not be read (permission denied); grant read access",
    errno.EPERM: "may not be read (permission denied); grant read access",
    errno.ENAMETOOLONG: "its path is too long to be opened; give it a shorter name or place",
}
_LEADS_OUT = "is a link that leads out of the input folder; copy the file here, or name where it lies as the input"


def file_version(info: os.stat_result) -> str:
    """The version of a local file."""
    return f"{info.st_mtime_ns}-{info.st_size}"


def find_file(path: str) -> SourceFile | None:
    """The file that is named outright: a link is followed, wherever it leads, to the file that is then read.

    Raises:
        OSError: it may not be looked at, or is neither file nor folder.
    """
    try:
        info = os.stat(path)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise
    if stat.S_ISDIR(info.st_mode):
        return None
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return SourceFile(os.path.realpath(path) if os.path.islink(path) else path, path, info.st_size, file_version(info))


def list_folder(folder: str, own: OwnPlaces, *, recursive: bool) -> Listing:
    """Everything in a folder, with whole paths; nothing where there is no such folder.

    Raises:
        OSError: the folder itself cannot be listed, or the disk fails.
    """
    walk = _Walk(folder or "/", own)
    try:
        walk.go(recursive)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
    return walk.found


class _Walk:
    """Folders first, links to folders last: what a link leads to is mostly there under its own name as well."""

    def __init__(self, root: str, own: OwnPlaces) -> None:
        self.found = Listing([], [])
        self._root, self._real_root = root, os.path.realpath(root)
        self._prefix = f"{root.rstrip('/')}/"
        self._own = own.folders()
        self._own_paths = [os.path.realpath(place) for place in own.local]
        self._seen: set[Identity] = set()
        self._holds_runs = False
        self._folders: list[str] = []  # paths below the root that are still to be entered, the next one last
        self._links: list[str] = []

    def go(self, recursive: bool) -> None:
        """Walk the folder from its root and collect the files."""
        info = os.stat(self._root)
        self._seen.add((info.st_dev, info.st_ino))
        self._holds_runs = self._own.get((info.st_dev, info.st_ino)) == "output"
        self._list("")
        while recursive and (self._folders or self._links):
            if not self._folders:
                self._folders, self._links = sorted(self._links, reverse=True), []
            path = self._folders.pop()
            try:
                if self._enters(path):
                    self._list(path)
            except OSError as error:
                problem = _PROBLEMS.get(error.errno or 0)
                if problem is None:
                    raise
                if error.errno != errno.ENOENT:  # one that went meanwhile is no longer part of the input
                    self._fail(path, problem)

    def _enters(self, path: str) -> bool:
        info = os.stat(self._whole(path))
        identity = (info.st_dev, info.st_ino)
        if own := self._own.get(identity):
            self._leave_out(f"{path}/", own, own_places.DETAILS[own])
        elif self._holds_runs and "/" not in path and holds_run(self._whole(path)):
            self._leave_out(f"{path}/", "output", "a run")
        elif identity in self._seen:
            self._leave_out(f"{path}/", "repeated", "this folder is listed already, under another name")
        else:
            self._seen.add(identity)
            return True
        return False

    def _list(self, path: str) -> None:
        folders = []
        with os.scandir(self._whole(path)) as entries:
            for entry in entries:
                below = f"{path}/{entry.name}" if path else entry.name
                try:
                    if self._takes_folder(entry, below):
                        folders.append(below)
                except OSError as error:
                    problem = _PROBLEMS.get(error.errno or 0)
                    if problem is None:
                        raise
                    if error.errno != errno.ENOENT or entry.is_symlink():
                        self._fail(below, problem)
        self._folders += sorted(folders, reverse=True)

    def _takes_folder(self, entry: os.DirEntry[str], path: str) -> bool:
        """Note a file, a link, or why it is neither; True for a folder."""
        is_folder = entry.is_dir(follow_symlinks=False)
        if reason := why_ignored(entry.name, is_folder=is_folder):
            self._leave_out(f"{path}/" if is_folder else path, reason, DETAILS[reason])
        elif problem := problem_of_name(entry.name):
            self._fail(path, problem)
        elif is_folder:
            return True
        elif entry.is_symlink():
            self._take_link(path)
        else:
            self._take_file(path, entry.stat(follow_symlinks=False))
        return False

    def _take_link(self, path: str) -> None:
        info = os.stat(self._whole(path))
        target = os.path.realpath(self._whole(path))
        if not is_below(target, self._real_root):
            self._fail(path, _LEADS_OUT)
        elif stat.S_ISDIR(info.st_mode):
            self._links.append(path)
        elif any(is_below(target, own) and own != self._real_root for own in self._own_paths):
            self._leave_out(path, "output", "a link to what Sluice has written")
        else:
            self._take_file(path, info)

    def _take_file(self, path: str, info: os.stat_result) -> None:
        if stat.S_ISREG(info.st_mode):
            whole = self._whole(path)
            self.found.sources.append(SourceFile(whole, whole, info.st_size, file_version(info)))
        else:
            self._leave_out(path, "special", "a socket, pipe or device, no file")

    def _fail(self, path: str, problem: str) -> None:
        """A source that cannot be read; its URI is like no other's, whatever else is called what is shown."""
        whole = self._whole(path)
        uri = f"file://{quote_from_bytes(os.fsencode(whole))}" if problem_of_name(path) else whole
        self.found.sources.append(SourceFile(uri, shown_name(whole), 0, f"unreadable: {problem}", problem=problem))

    def _leave_out(self, path: str, reason: Reason, detail: str) -> None:
        self.found.left_out.append(LeftOut(self._root, shown_name(path), reason, detail))

    def _whole(self, path: str) -> str:
        return self._prefix + path
