"""Two ways to have a committed run processed: here, one after the other, or as runs of a Prefect deployment.

Both may be asked for the same run again, after a crash or by another listener, and then do no work twice.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Protocol
from uuid import UUID

from flows.console.interruption import interruption
from flows.run import Run
from flows.run_lock import wait_for_sole_process
from pipelines.errors import JobError, ServiceError
from pipelines.settings import environment_with_claude_key

_COMMAND = (sys.executable, "-P", "-c", "from flows.cli import app; app()")
_EXIT_DONE, _EXIT_BAD_JOB, _EXIT_STOPPED_BY_BUDGET = 0, 2, 3


class RunStarter(Protocol):
    """Something that has a run processed: here, or by a Prefect worker."""

    def check(self) -> None:
        """Look, before the first file comes, whether runs can be started at all.

        Raises:
            ServiceError: they cannot.
        """

    def start(self, run: Run, claim_id: str) -> str | None:
        """See to it that the run is processed, by now or soon; the page to look at, if there is one.

        Raises:
            JobError: it can never be done as it is.
            ServiceError: it could not be started, or processing failed: to be tried again.
        """


class StartHere:
    """Processes the run in a child process and waits for it; Claude's answers are taken in by `pipeline collect`.

    For listeners on one machine. On several, two could do the same work at once, which loses nothing and costs time.
    """

    def check(self) -> None:
        """Nothing else is needed."""

    def start(self, run: Run, claim_id: str) -> str | None:
        """Process the run, or wait for the listener of this machine that does."""
        with interruption.at_once():  # it may take hours: a stop ends it where it stands, and the next start goes on
            self._process(run)
        return None

    def _process(self, run: Run) -> None:
        wait_for_sole_process(run.store.root)
        # A simulation's answers are there within seconds, and the service that gives them ends with the process.
        is_simulation = run.job.provider == "simulation"
        arguments = ["resume", run.store.root, "--wait" if is_simulation else "--no-wait"]
        # In a session of its own: Ctrl-C at the listener's terminal is the listener's to obey, which ends its child.
        child = subprocess.run(  # noqa: S603  # our own words
            [*_COMMAND, *arguments],
            capture_output=True,
            text=True,
            start_new_session=True,
            env=environment_with_claude_key(),
        )
        said = child.stderr.strip() or f"exit code {child.returncode}"
        if child.returncode == _EXIT_BAD_JOB:  # it would be so each time
            raise JobError([f"run {run.run_id} cannot be done: {said.removeprefix('pipeline: ')}"])
        if child.returncode not in (_EXIT_DONE, _EXIT_STOPPED_BY_BUDGET):
            raise ServiceError(f"run {run.run_id} is not done: {said.removeprefix('pipeline: ')}")


class StartInPrefect:
    """Creates a run of the deployment, which a Prefect worker picks up; the claim is the idempotency key."""

    def check(self) -> None:
        """Look for the server: without one, every announcement would end in the dead-letter queue."""
        from flows.service.prefect_api import prefect_client

        with prefect_client():
            return

    def start(self, run: Run, claim_id: str) -> str | None:
        """Create the flow run, unless it exists."""
        import httpx
        from prefect.exceptions import PrefectException
        from prefect.utilities.urls import url_for

        from flows.service.deployments import start_run

        try:
            flow_run_id = start_run(run.job, run.run_id, claim_id)
        except (PrefectException, httpx.HTTPError) as error:  # e.g. 500 while its database is locked
            raise ServiceError(f"run {run.run_id} could not be handed to Prefect: {error}") from error
        return url_for("flow-run", UUID(flow_run_id))
