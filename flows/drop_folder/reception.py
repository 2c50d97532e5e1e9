"""Taking one file: from its key to a started run, in steps that each may be the last one before a crash.

    look at the file -> claim the version -> commit the run's record -> start the run -> note that it is started

The claim decides, once, which job the version is given to. It is no lease: whoever meets a claimed version that is not
started does all that follows again. The run's id comes from the claim, its record is created once, and starting it
twice starts it once; so nothing happens twice, and nothing waits for the listener that died.
"""

from __future__ import annotations

from collections.abc import Callable

from flows.drop_folder.files import Claim, DroppedFile, problem_of
from flows.drop_folder.inbox import Inbox
from flows.drop_folder.jobs import JobFinder
from flows.drop_folder.starters import RunStarter
from flows.preflight import check_surroundings
from flows.run import prepare_run
from pipelines.documents.records import SourceFile
from pipelines.errors import JobError, ServiceError
from pipelines.job import Job

_SEND_AGAIN = "then send the file again, or start the listener again: it looks at rejected files anew"


class Reception:
    """Takes files into runs, or rejects them."""

    def __init__(self, inbox: Inbox, jobs: JobFinder, starter: RunStarter, say: Callable[[str], None]) -> None:
        self._inbox, self._jobs, self._starter, self._say = inbox, jobs, starter, say

    def take(self, key: str) -> None:
        """Do what is left to do for the version that is there now; nothing if none is there, or all is done.

        Raises:
            JobError: a claimed version cannot go on here: to be tried again.
            ServiceError: something outside failed: to be tried again.
        """
        file = self._inbox.look(key)
        if file is None or self._inbox.is_started(file):
            return
        claim = self._inbox.claim(file)
        try:
            job, job_file = (claim.job, claim.job_file) if claim else self._decide(file)
            sources = self._sources(file, job, job_file)
        except JobError as error:
            if claim:
                raise
            self._inbox.reject(file, error.problems, f"mend this, {_SEND_AGAIN}")
            self._say(f"{file.claim_id} rejected")
            return
        if claim is None:
            claim = self._inbox.make_claim(file, Claim.on(file, job, job_file))
        run = prepare_run(claim.job, sources, claim.run_id, is_frozen=True)
        page = self._starter.start(run, file.claim_id)
        self._inbox.mark_started(
            file,
            {
                "file": file.uri,
                "e_tag": file.e_tag,
                "version_id": file.version_id,
                "job_file": claim.job_file,
                "run_id": run.run_id,
                "run": run.store.root,
                "page": page,
                "next": f"pipeline status {run.store.root}",
            },
        )
        self._say(f"{file.claim_id} started {run.run_id}")

    def _decide(self, file: DroppedFile) -> tuple[Job, str]:
        if problem := problem_of(file):
            raise JobError([f"{file.uri} {problem}"])
        return self._jobs.find(file)

    def _sources(self, file: DroppedFile, job: Job, job_file: str) -> list[SourceFile]:
        """The file as the run will read it, and surely in the version that is claimed."""
        try:
            sources = check_surroundings(job)
        except JobError as error:
            if any(problem.startswith("input:") for problem in error.problems):  # it was there a moment ago
                raise ServiceError(str(error)) from error
            raise JobError([f"{job_file}: {problem}" for problem in error.problems], job_file) from error
        if self._inbox.look(file.key) != file:
            raise ServiceError(f"{file.claim_id} was replaced while it was taken; the new version is taken next time")
        return sources
