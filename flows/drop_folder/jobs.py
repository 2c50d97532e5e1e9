"""Which job is done for a dropped file: the default, or, where the listener's owner says so, the nearest `*.job.yaml`.

That one is looked up when the file is taken, beside or above it: the job file must be there first. Its `input` is
replaced by the file, and its `budget_usd` holds for each run, so for each file. Whoever may drop files may write it, so
it is bounded by `JobRules`.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from flows.drop_folder.files import DroppedFile, job_files
from flows.drop_folder.inbox import Inbox
from flows.drop_folder.job_rules import JobFileOptions, JobRules
from flows.preflight.surroundings import check_surroundings
from flows.questions.over_http import model_of
from flows.questions.registry import question_of
from pipelines.errors import JobError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.job.job_file import load_job, parse_job, with_absolute_places

_MAX_JOB_FILE_BYTES = 1_000_000


class JobFinder:
    """Finds the job of a file."""

    def __init__(self, inbox: Inbox, default_path: Path, job_files: JobFileOptions | None = None) -> None:
        """Check the default job before the first file comes.

        Args:
            inbox: the drop folder.
            default_path: the job of every file that has none of its own.
            job_files: job files in the drop folder are done, within these bounds; None: they are left alone.

        Raises:
            JobError: with every problem of the default job, except those of an input.
        """
        self._inbox, self._default_path = inbox, default_path
        # The job file stands in for the input: it is one file that is surely there.
        default = load_job(default_path, {"input": str(default_path)})
        _check_review(default, str(default_path))
        check_surroundings(default)
        self._check(default, str(default_path))
        self._default = with_absolute_places(default)
        self._with_job_files = job_files is not None
        self._rules = JobRules(self._default, job_files or JobFileOptions())

    def find(self, file: DroppedFile) -> tuple[Job, str]:
        """The job, with the file as its input, and where it was found.

        Raises:
            JobError: the nearest job file is wrong.
        """
        if self._with_job_files:
            for path in job_files(self._inbox.path_of(file.key)):
                content = self._inbox.read(path)
                if content is not None:
                    return self._parse(path, content, file), self._inbox.uri(path)
        return self._default_for(file), str(self._default_path)

    def ignored(self, file: DroppedFile) -> str | None:
        """A job file that would be done, were job files done here."""
        if self._with_job_files:
            return None
        found = (path for path in job_files(self._inbox.path_of(file.key)) if self._inbox.exists(path))
        return next(map(self._inbox.uri, found), None)

    def check_claimed(self, job: Job, file: DroppedFile) -> None:
        """Look at a job that a claim names: who may drop files may have written claims as well.

        Raises:
            JobError: it asks for more than a dropped job may.
        """
        if job != self._default_for(file) and (problems := self._rules.problems(job)):
            raise JobError(problems)

    def _default_for(self, file: DroppedFile) -> Job:
        return self._default.model_copy(update={"input": file.uri})

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
        if problems := self._local_output(job) or self._rules.problems(job):
            raise _named(uri, problems)
        _check_review(job, uri)
        self._check(job, uri)
        return job

    def _check(self, job: Job, where: str) -> None:
        """Find what would only come out when the run is prepared, which is after the claim."""
        if self._inbox.contains(job.output):
            problem = f"output: '{job.output}' lies in the drop folder, so that each run would start others"
            raise _named(where, [f"{problem}; choose another place"])
        try:
            if not isinstance(job.model, ModelEndpoint):  # its server is the default job's, and is asked with each run
                question_of(job, model_of(job)).document_tokens  # noqa: B018  # refuses what leaves no room
        except JobError as error:
            raise _named(where, error.problems) from None

    def _local_output(self, job: Job) -> list[str]:
        """A place that means something else on each listener's machine: nobody knows on which one a file is taken."""
        if self._is_everywhere(job.output):
            return []
        wanted = "an absolute path" if self._inbox.is_local else "an s3:// URI"
        return [f"output: '{job.output}' is not {wanted}, which it must be in a job file beside dropped files"]

    def _is_everywhere(self, place: str) -> bool:
        return place.startswith("s3://") or (self._inbox.is_local and os.path.isabs(urlsplit(place).path))


def _check_review(job: Job, where: str) -> None:
    """A dropped file is no repository, though it may name one elsewhere, as git's own link files do."""
    if job.review and (job.review.revisions or job.review.tree):
        problem = "review: a dropped file holds diffs; leave revisions, tree and revision out"
        raise _named(where, [problem])


def _named(where: str, problems: list[str]) -> JobError:
    """The problems, each with the file it is in: a report on a dropped document must tell."""
    named = [problem if problem.startswith(where) else f"{where}: {problem}" for problem in problems]
    return JobError(named, where)
