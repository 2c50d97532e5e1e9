"""Which job is done for a dropped file: the nearest `*.job.yaml` beside or above it, else the default.

It is looked up when the file is taken: the job file must be there first. Its `input` is replaced by the file, and its
`budget_usd` holds for each run, so for each file. Whoever may write job files into a drop folder decides what the
listener's machines run and spend.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from flows.drop_folder.files import DroppedFile, job_files
from flows.drop_folder.inbox import Inbox
from flows.preflight import check_surroundings
from flows.review_question import question_of
from pipelines.errors import JobError
from pipelines.job import Job
from pipelines.job_file import load_job, parse_job, with_absolute_places
from workers.catalogue import resolve_model

_MAX_JOB_FILE_BYTES = 1_000_000


class JobFinder:
    """Finds the job of a file."""

    def __init__(self, inbox: Inbox, default_path: Path) -> None:
        """Check the default job before the first file comes.

        Raises:
            JobError: with every problem of the default job, except those of an input.
        """
        self._inbox, self._default_path = inbox, default_path
        # The job file stands in for the input: it is one file that is surely there.
        default = load_job(default_path, {"input": str(default_path)})
        check_surroundings(default)
        self._check(default, str(default_path))
        self._default = with_absolute_places(default)

    def find(self, file: DroppedFile) -> tuple[Job, str]:
        """The job, with the file as its input, and where it was found.

        Raises:
            JobError: the nearest job file is wrong.
        """
        for path in job_files(self._inbox.path_of(file.key)):
            content = self._inbox.read(path)
            if content is not None:
                return self._parse(path, content, file), self._inbox.uri(path)
        return self._default.model_copy(update={"input": file.uri}), str(self._default_path)

    def _parse(self, path: str, content: bytes, file: DroppedFile) -> Job:
        uri = self._inbox.uri(path)
        if len(content) > _MAX_JOB_FILE_BYTES:
            raise _named(uri, [f"{len(content):,} bytes, limit {_MAX_JOB_FILE_BYTES:,}: this is no job file"])
        try:
            job = parse_job(content.decode(), uri, {"input": file.uri})
        except UnicodeDecodeError as error:
            raise _named(uri, [f"not UTF-8 at byte {error.start}; save it as UTF-8"]) from None
        except JobError as error:
            raise _named(uri, error.problems) from None
        if problems := self._local_places(job):
            raise _named(uri, problems)
        self._check(job, uri)
        return job

    def _check(self, job: Job, where: str) -> None:
        """Find what would only come out when the run is prepared, which is after the claim."""
        if self._inbox.contains(job.output):
            problem = f"output: '{job.output}' lies in the drop folder, so that each run would start others"
            raise _named(where, [f"{problem}; choose another place"])
        try:
            question_of(job, resolve_model(job.model) if job.model else None).document_tokens  # noqa: B018  # refuses what leaves no room
        except JobError as error:
            raise _named(where, error.problems) from None

    def _local_places(self, job: Job) -> list[str]:
        """Places that mean something else on each listener's machine: nobody knows on which one a file is taken."""
        gold_file = job.evaluation.gold_file if job.evaluation else None
        places = {"output": job.output, "evaluation.gold_file": gold_file}
        wanted = "an absolute path" if self._inbox.is_local else "an s3:// URI"
        return [
            f"{name}: '{place}' is not {wanted}, which it must be in a job file beside dropped files"
            for name, place in places.items()
            if place is not None and not self._is_everywhere(place)
        ]

    def _is_everywhere(self, place: str) -> bool:
        return place.startswith("s3://") or (self._inbox.is_local and os.path.isabs(urlsplit(place).path))


def _named(where: str, problems: list[str]) -> JobError:
    """The problems, each with the file it is in: a report on a dropped document must tell."""
    named = [problem if problem.startswith(where) else f"{where}: {problem}" for problem in problems]
    return JobError(named, where)
