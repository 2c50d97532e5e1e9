"""Taking one file: from its key to a started run, in steps that each may be the last one before a crash.

    look at the file -> claim the version -> commit the run's record -> start the run -> note that it is started

The claim decides, once, which job the version is given to. It is no lease: whoever meets a claimed version that is not
started does all that follows again. The run's id comes from the claim, its record is created once, and starting it
twice starts it once; so nothing happens twice, and nothing waits for the listener that died.
"""

from __future__ import annotations

from collections.abc import Callable

from flows.drop_folder.failures import describe, is_failure, problems_of_file
from flows.drop_folder.files import DroppedFile, FileClaim, problem_of
from flows.drop_folder.inbox import Inbox
from flows.drop_folder.jobs import JobFinder
from flows.drop_folder.starters import RunStarter
from flows.preflight.surroundings import check_surroundings
from flows.run import prepare_run
from pipelines.documents.records import SourceFile
from pipelines.errors import JobError, ServiceError
from pipelines.job.job import Job
from pipelines.job.job_places import check_place

_SEND_AGAIN = "then send the file again, or start the listener again: it looks at rejected files anew"


class Reception:
    """Takes files into runs, or rejects them."""

    def __init__(self, inbox: Inbox, jobs: JobFinder, starter: RunStarter, say: Callable[[str], None]) -> None:
        self._inbox, self._jobs, self._starter, self._say = inbox, jobs, starter, say

    def take(self, key: str) -> None:
        """Do what is left to do for the version that is there now; nothing if none is there, or all is done.

        A version that cannot be taken because of itself or its job is rejected, whatever the failure.

        Raises:
            ServiceError: something outside failed: to be tried again.
        """
        file = None
        try:
            file = self._inbox.look(key)
            if file is not None and not self._inbox.is_started(file):
                self._take(file)
        except BaseException as error:  # a panic in Rust is no Exception
            # The edge at which one file's failure must not become everybody's: what may be in files, their names and
            # job files, and how libraries fail over it, is for others to say.
            if not is_failure(error):
                raise
            problems = problems_of_file(error)
            if file is None or problems is None:
                raise error if isinstance(error, ServiceError) else ServiceError(describe(error)) from error
            self._reject(file, problems)

    def give_up(self, key: str, reason: str) -> None:
        """Reject a version that was tried again and again, while others were taken.

        Raises:
            ServiceError: the store cannot be reached.
        """
        if file := self._inbox.look(key):
            self._reject(file, [reason])

    def _take(self, file: DroppedFile) -> None:
        claim = self._inbox.claim(file)
        if claim is None:
            job, job_file = self._decide(file)
            sources = self._sources(file, job, job_file)
            claim = self._inbox.make_claim(file, FileClaim.on(file, job, job_file))
        else:
            self._jobs.check_claimed(claim.job, file)
            sources = self._sources(file, claim.job, claim.job_file)
        run = prepare_run(claim.job, sources, claim.run_id, is_frozen=True)
        page = self._starter.start(run, file.claim_id)
        status = {
            "file": file.uri,
            "e_tag": file.e_tag,
            "version_id": file.version_id,
            "job_file": claim.job_file,
            "run_id": run.run_id,
            "run": run.store.root,
            "page": page,
            "next": f"pipeline status {run.store.root}",
        }
        said = f"{file.claim_id} started {run.run_id}"
        if ignored := self._jobs.ignored(file):
            status["ignored"] = f"{ignored}: this listener does no job files of its folder; it would with --job-files"
            said = f"{said}; the job file beside it is ignored"
        self._inbox.mark_started(file, status)
        self._say(said)

    def _reject(self, file: DroppedFile, problems: list[str]) -> None:
        next_step = f"mend this, {_SEND_AGAIN}"
        if self._inbox.is_claimed(file):
            claim = self._inbox.claim_uri(file)
            next_step = f"{next_step}; to have it taken with another job, delete '{claim}' first"
        self._inbox.reject(file, problems, next_step)
        self._say(f"{file.claim_id} rejected")

    def _decide(self, file: DroppedFile) -> tuple[Job, str]:
        try:
            check_place(file.uri)
        except ValueError as error:
            raise JobError([f"{file.uri!r}: its name cannot be worked with ({error}); rename it"]) from None
        if file.problem:  # of its name, it may be: no job file could be looked for beside it
            raise JobError([f"{file.uri} {file.problem}"])
        job, job_file = self._jobs.find(file)
        if problem := problem_of(file, job.task):
            raise JobError([f"{file.uri} {problem}"])
        return job, job_file

    def _sources(self, file: DroppedFile, job: Job, job_file: str) -> list[SourceFile]:
        """The file as the run will read it, and surely in the version that is claimed."""
        try:
            sources = check_surroundings(job)
        except JobError as error:
            if any(problem.startswith("input:") for problem in error.problems):  # it was there a moment ago
                raise ServiceError(str(error)) from error
            raise JobError([f"{job_file}: {problem}" for problem in error.problems], job_file) from error
        if self._inbox.look(file.key) != file or not all(self._inbox.contains(source.uri) for source in sources):
            raise ServiceError(f"{file.claim_id} was replaced while it was taken; the new version is taken next time")
        return sources
