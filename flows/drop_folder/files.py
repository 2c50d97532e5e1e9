"""A file in a drop folder, and the claim on it: record types and names, nothing that touches a store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict

from pipelines.documents.readers.readers import DIFF_READERS, READERS
from pipelines.documents.sources.sources import COMPRESSIONS
from pipelines.job.job import Job

JOB_FILE_SUFFIX = ".job.yaml"
FOLDER_JOB_FILE = f"folder{JOB_FILE_SUFFIX}"
# A file name may have 255 bytes, a key on S3 1,024, and reports need a few more than what they are about.
_MAX_NAME_BYTES, _MAX_REPORT_BYTES = 240, 900
_NOT_INPUT = (JOB_FILE_SUFFIX, ".part", ".tmp")  # jobs, and uploads under way


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """One version of one file.

    ``version_id`` is there where the bucket keeps versions: the same content sent again is then another version.
    """

    key: str
    uri: str
    size_bytes: int
    e_tag: str
    version_id: str | None
    # Told to the millisecond by a listing and to the second by a look: it does not make another version.
    written_at: datetime = field(compare=False)
    problem: str | None = None  # why it cannot be read, where listing it has shown that already

    @property
    def listing_id(self) -> str:
        """Names key and content: all that a listing tells about a version."""
        return f"drp_{_digest(self.uri, self.e_tag)}"

    @property
    def claim_id(self) -> str:
        """Names the version; the same for every listener and every announcement."""
        return f"{self.listing_id}-{_digest(self.version_id)}" if self.version_id else self.listing_id


class FileClaim(BaseModel):
    """What was decided about a version: which run it starts. Made once; everything after it can be done again."""

    model_config = ConfigDict(frozen=True)

    file: str
    e_tag: str
    version_id: str | None
    size_bytes: int
    job_file: str
    job: Job
    run_id: str

    @classmethod
    def on(cls, file: DroppedFile, job: Job, job_file: str) -> FileClaim:
        """The claim on a file that ``job`` is to be done for."""
        return cls(
            file=file.uri,
            e_tag=file.e_tag,
            version_id=file.version_id,
            size_bytes=file.size_bytes,
            job_file=job_file,
            job=job,
            run_id=f"run_{job.name}_{_digest(file.claim_id)}",
        )


def is_input(path: str) -> bool:
    """Whether a path below the drop folder is a file to take; hidden files, as everywhere, are not."""
    is_hidden = any(part.startswith((".", "_")) for part in path.split("/"))
    return bool(path) and not path.endswith("/") and not is_hidden and not path.lower().endswith(_NOT_INPUT)


def problem_of(file: DroppedFile, task: str = "classification") -> str | None:
    """Why a file cannot be read for a task, as far as its name and size tell."""
    if file.problem is not None:
        return file.problem
    if file.size_bytes == 0:
        return "is empty; send it again with its content"
    readers = DIFF_READERS if task == "code_review" else READERS
    if _plain_name(file.key.lower()).suffix in readers:
        return None
    wanted = f"supported: {', '.join(readers)} ({', '.join(COMPRESSIONS)})"
    if _plain_name(file.key.lower()).suffix in DIFF_READERS:
        return f"is for a code review, and its job is a classification; {wanted}"
    return f"is of a type that cannot be read; {wanted}"


def report_name(key: str) -> str:
    """The name under which reports on a file lie: its own, where ``.rejected.json`` can still be put to it."""
    parts = key.split("/")
    if len(key.encode()) <= _MAX_REPORT_BYTES and all(len(part.encode()) <= _MAX_NAME_BYTES for part in parts):
        return key
    return f"{parts[-1].encode()[:100].decode(errors='ignore')}-{_digest(key)}"


def job_files(path: str) -> list[str]:
    """Where the job of a file may lie, the nearest first; paths below the drop folder.

    For ``a/b/mails.jsonl.gz``: ``a/b/mails.jsonl.gz.job.yaml``, ``a/b/mails.job.yaml``, ``a/b/folder.job.yaml``,
    ``a/folder.job.yaml``, ``folder.job.yaml``. Only these names: any other would take a listing for every file.
    """
    parents = PurePosixPath(path).parents
    own = [f"{path}{JOB_FILE_SUFFIX}", str(_plain_name(path).with_suffix("")) + JOB_FILE_SUFFIX]
    return list(dict.fromkeys([*own, *(str(parent / FOLDER_JOB_FILE) for parent in parents)]))


def _plain_name(path: str) -> PurePosixPath:
    """Without the ending of a compression."""
    name = PurePosixPath(path)
    return name.with_suffix("") if name.suffix.lower() in COMPRESSIONS else name


def _digest(*parts: str) -> str:
    """80 bits: among ten million files, two alike are less likely than one in ten billion."""
    return hashlib.blake2b("\x00".join(parts).encode(), digest_size=10).hexdigest()
