"""Whose failure it is when a file cannot be taken: that of the file and its job, or of the machine and what it needs.

Parsers and libraries fail in more ways than anyone foresees. What nobody foresaw is taken for the file's, which is then
rejected and keeps nobody waiting; what is known to be the machine's is waited out, or every file would be rejected.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from pipelines.errors import JobError, ServiceError, SluiceError

_CODE = Path(__file__).resolve().parents[2]
_ROOMS = [_CODE / room for room in ("flows", "workers", "pipelines")]
_OF_A_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
# Clients of what is outside: their own errors are about that.
_CLIENTS = {"botocore", "boto3", "urllib3", "httpx", "httpcore", "obstore", "prefect", "ssl"}
_PANIC = "PanicException"  # of a library in Rust, such as tokenizers; no Exception, and importable from nowhere


def is_failure(error: BaseException) -> bool:
    """Whether something failed, as against a stop that was asked for."""
    return isinstance(error, Exception) or type(error).__name__ == _PANIC


def problems_of_file(error: BaseException) -> list[str] | None:
    """What to tell of a file because of which ``error`` was raised; None if it is not the file's failure."""
    if isinstance(error, JobError):
        return error.problems
    if isinstance(error, ServiceError | MemoryError) or _is_of_a_client(error):
        return None
    if isinstance(error, OSError) and error.errno not in _OF_A_NAME:
        return None
    if isinstance(error, SluiceError):
        return [str(error)]
    return [f"{describe(error)}; if file and job are as they should be, please report this line"]


def describe(error: BaseException) -> str:
    """The kind of an error and where it was raised. Not its words: they may quote the document, or a key."""
    kind = errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    files = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [(path, line) for path, line in files if any(path.is_relative_to(room) for room in _ROOMS)]
    where = f" at {ours[-1][0].relative_to(_CODE)}:{ours[-1][1]}" if ours else ""
    return f"unexpected {type(error).__name__}{f' {kind}' if kind else ''}{where}"


def _is_of_a_client(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _CLIENTS
