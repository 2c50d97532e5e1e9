"""What `pipeline deploy` does: registers a job's schedule, or what its drop folder needs, and says where to look."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.preflight.surroundings import check_deployable
from flows.service.deployments import Registered, next_times, parse_cron, register_runs, register_schedule
from flows.service.prefect_api import prefect_client
from pipelines.job.engine_arguments import code_arguments
from pipelines.job.job_file import load_job, with_absolute_places
from pipelines.job.sections import ModelSource

_SHOWN_TIMES = 3


@dataclass(frozen=True)
class Deployed:
    """What was registered, in lines for a person and names for a program."""

    job: str
    work_pool: str
    schedule: Registered | None
    next_runs: tuple[str, ...]
    listen_command: str | None
    page: str | None
    needs_trust: bool = False  # the engine is to run code that the job or its model brings along

    @property
    def worker_command(self) -> str:
        """What must run, on every machine that is to do the work."""
        word = "SLUICE_TRUST_REMOTE_CODE=1 " if self.needs_trust else ""
        return f"{word}prefect worker start --pool {shlex.quote(self.work_pool)}"

    def as_json(self) -> dict[str, Any]:
        """Values that ``--json`` prints."""
        return {
            "job": self.job,
            "work_pool": self.work_pool,
            "deployment": self.schedule.name if self.schedule else None,
            "next_runs": self.next_runs,
            "page": self.page,
            "worker_command": self.worker_command,
            "listen_command": self.listen_command,
        }

    def as_lines(self) -> list[str]:
        """Where to look and what to start."""
        lines = []
        if self.schedule:
            lines.append(f"schedule  {self.schedule.name}; next at {', '.join(self.next_runs)} UTC")
            lines.append("          the job is kept with the schedule: after a change of the file, deploy it again")
        lines.append(f"look      {self.page}")
        lines.append(f"worker    {self.worker_command}   must be running somewhere")
        if self.schedule:
            lines.append(f"now       prefect deployment run {shlex.quote(self.schedule.name)}")
        if self.listen_command:
            lines.append(f"listen    {self.listen_command}   must be running somewhere")
        return lines


def deploy_job(path: Path, cron: str | None, watch: str | None, work_pool: str) -> Deployed:
    """Register what runs the job by itself; again, to update it.

    Args:
        path: the job file.
        cron: start the next run of the job's series at these times, in UTC.
        watch: the drop folder for whose files runs are to be started.
        work_pool: whose workers do it; made if it is missing.

    Raises:
        JobError: with every problem of the job; nothing is registered.
        ServiceError: no Prefect server can be reached.
    """
    job = with_absolute_places(load_job(path))
    check_deployable(job)
    schedule = parse_cron(cron) if cron is not None else None
    times = next_times(schedule, _SHOWN_TIMES) if schedule else ()
    with prefect_client() as client:
        runs = register_runs(client, work_pool)
        series = register_schedule(client, job, schedule, work_pool) if schedule else None
    needs_trust = isinstance(job.model, ModelSource) and bool(code_arguments(job.model.engine))
    options = "--prefect --trust-remote-code" if needs_trust else "--prefect"
    listen = f"pipeline listen {shlex.quote(watch)} --job {shlex.quote(str(path))} {options}" if watch else None
    return Deployed(job.name, work_pool, series, times, listen, (series or runs).url, needs_trust)
