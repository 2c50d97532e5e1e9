"""Opening a local file that a job, a folder or a stranger named: a regular one of a bounded size, or an error at once.

A pipe would be waited for until somebody writes to it, and a device like ``/dev/zero`` never ends. What is refused is
an ``OSError`` whose ``strerror`` says why, so that whoever reports "cannot be read (...)" reports this as well.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader, FileIO, TextIOWrapper
from pathlib import Path

MAX_JOB_FILE_BYTES = 1_000_000
MAX_TABLE_BYTES = 1024**3  # gold labels and known faults: ten million rows of a hundred bytes
# Without O_NONBLOCK, opening a pipe waits for its other end.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: str | Path, limit_bytes: int | None = None) -> FileIO:
    """The file, open for reading bytes.

    Raises:
        OSError: it is not there, may not be read, is no regular file, or is larger than the limit.
    """
    try:
        descriptor = os.open(path, _READ)
    except ValueError as error:  # a NUL, or what no file name on this machine can hold
        raise OSError(errno.EINVAL, f"no file can have this name: {error}") from error
    try:
        _check(os.fstat(descriptor), path, limit_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return FileIO(descriptor)


def _check(info: os.stat_result, path: str | Path, limit_bytes: int | None) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if limit_bytes is not None and info.st_size > limit_bytes:
        raise OSError(errno.EFBIG, f"{info.st_size:,} bytes, where {limit_bytes:,} are taken", str(path))


def open_regular_text(path: str | Path, limit_bytes: int) -> TextIOWrapper:
    """The same as UTF-8 text for a reader of rows, which cuts lines itself; a byte order mark is left out."""
    file = open_regular(path, limit_bytes)
    return TextIOWrapper(BufferedReader(file), encoding="utf-8-sig", newline="")


def read_regular(path: str | Path, limit_bytes: int) -> bytes:
    """All of the file, also if it says that it is smaller than it is, as those under ``/proc`` do.

    Raises:
        OSError: see `open_regular`.
    """
    with BufferedReader(open_regular(path, limit_bytes)) as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise OSError(errno.EFBIG, f"more than {limit_bytes:,} bytes", str(path))
    return data


def is_below(path: str, folder: str) -> bool:
    """Whether a real path is a folder's, or of something in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def lies_below(opened: os.stat_result, path: str, folder: str) -> bool:
    """Whether the file that was opened at a path lies in the folder, all links followed.

    Asked of the file that is open already, so that whoever puts a link in its place meanwhile gains nothing.
    """
    target = os.path.realpath(path)
    try:
        return is_below(target, os.path.realpath(folder)) and os.path.samestat(os.stat(target), opened)
    except OSError:  # gone meanwhile
        return False
