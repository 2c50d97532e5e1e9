"""The files in a local drop folder: listed and looked at without opening any, so that none can hold the listener up.

What has a name that cannot be written down, leads out of the folder or may not be read is a file with a ``problem``:
it is rejected under a name that can be written, and the others go on.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime

from flows.drop_folder.files import DroppedFile
from pipelines.documents.records import SourceFile
from pipelines.documents.sources.local_folder import list_folder
from pipelines.documents.sources.own_places import NOWHERE
from pipelines.errors import JobError, StoreError
from pipelines.store.regular_files import MAX_JOB_FILE_BYTES, is_below, lies_below, open_regular

_EPOCH = datetime.fromtimestamp(0, UTC)
# The library that writes beside the files keeps such names for its own half-written ones.
_OF_THE_STORE = re.compile(r"#\d+$")
_KEPT_NAME = "its name ends in # and a number, which half-written files have; rename it"


class LocalInbox:
    """Files below a local folder that are to be taken."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._unreadable: dict[str, DroppedFile] = {}  # as of the last listing, by key

    def check(self) -> None:
        """Try to list.

        Raises:
            StoreError: the folder may not be listed.
        """
        self.names("")

    def names(self, folder: str) -> list[str]:
        """What lies in a folder, as paths below the root; nothing where there is no such folder.

        Raises:
            StoreError: it may not be listed.
        """
        try:
            return [f"{folder}/{name}" for name in os.listdir(f"{self._root}/{folder}")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._error(error) from error

    def files(self) -> Iterator[DroppedFile]:
        """Every file, and whatever could be one and cannot be read.

        Raises:
            StoreError: the folder may not be listed.
        """
        try:
            sources = list_folder(self._root, NOWHERE, recursive=True).sources
        except OSError as error:
            raise self._error(error) from error
        self._unreadable = {file.key: file for source in sources if (file := self._problem(source))}
        yield from self._unreadable.values()
        for source in sources:
            key = self._key(source)
            if key not in self._unreadable and (file := self._file(key)):
                yield file

    def look(self, key: str) -> DroppedFile | None:
        """The version that is there now, if any."""
        return self._unreadable.get(key) or self._file(key)

    def exists(self, path: str) -> bool:
        """Whether anything has that name; it is not opened."""
        return os.path.lexists(f"{self._root}/{path}")

    def read(self, path: str) -> bytes | None:
        """A job file, if it is there.

        Raises:
            JobError: it is no file of a bounded size, or leads out of the folder.
        """
        whole = f"{self._root}/{path}"
        try:
            with open_regular(whole, MAX_JOB_FILE_BYTES) as file:
                if not lies_below(os.fstat(file.fileno()), whole, self._root):
                    raise JobError([f"{whole}: is a link that leads out of the drop folder; put the job file there"])
                return file.read(MAX_JOB_FILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # beside a file with the longest name, none can lie
                return None
            raise JobError([f"{whole}: cannot be read ({error.strerror}); mend the job file"]) from error

    def _file(self, key: str) -> DroppedFile | None:
        whole = f"{self._root}/{key}"
        try:
            info = os.stat(whole)
        except OSError:  # gone meanwhile, or told by the next listing
            return None
        if not stat.S_ISREG(info.st_mode) or not is_below(os.path.realpath(whole), os.path.realpath(self._root)):
            return None
        microseconds = info.st_mtime_ns // 1000
        return DroppedFile(
            key=key,
            uri=whole,
            size_bytes=info.st_size,
            e_tag=f"{info.st_ino:x}-{microseconds:x}-{info.st_size:x}",  # as obstore says it: claims are named by it
            version_id=None,
            written_at=datetime.fromtimestamp(microseconds / 1e6, UTC),
        )

    def _problem(self, source: SourceFile) -> DroppedFile | None:
        problem = source.problem or (_KEPT_NAME if _OF_THE_STORE.search(source.path) else None)
        if problem is None:
            return None
        return DroppedFile(self._key(source), source.uri, 0, "unreadable", None, _EPOCH, problem)

    def _key(self, source: SourceFile) -> str:
        return source.path[len(self._root.rstrip("/")) + 1 :]

    def _error(self, error: OSError) -> StoreError:
        return StoreError(f"cannot list '{self._root}': {error.strerror}; grant access or mend the path")
