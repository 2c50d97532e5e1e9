"""What Prefect knows of us: which flows a worker can run, on which schedule, and who notices when one dies.

- `sluice-run/process` brings one committed run to its end. It has no schedule: runs are started by `start_run`.
- `sluice-scheduled/<job>` starts the next run of the job's series, by cron.
- `sluice-adapt/<job>` trains the next adapter of the job's series, where the job has `adapt`; a schedule starts it.
- `sluice-watchdog/watchdog` starts again what has died, every minute.
- The automation `sluice-silence` calls a flow run crashed whose heartbeat has stopped.

Registering again updates all of it. Flows are named by module, so a worker needs this package and no copy of its files.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists
from prefect.server.schemas.schedules import CronSchedule as Clockwork
from prefect.utilities.callables import parameter_schema
from prefect.utilities.urls import url_for
from prefect.workers.process import ProcessWorker

from flows.process import AWAITING_CLAUDE, process
from flows.quiet import QUIET
from flows.service.adapting import train_adapter
from flows.service.prefect_api import create_flow_run, find_deployment, prefect_client
from flows.service.scheduled import take_new_files
from flows.service.watchdog import watchdog
from pipelines.errors import JobError
from pipelines.job.job import Job

# Runs queue up here, one at a time: each takes every GPU it finds. The light flows pass them by in the default queue.
RUN_QUEUE = "runs"
_RUNS_AT_ONCE = 1
_CRON_FIELDS = 5

_WATCHDOG_EVERY = timedelta(minutes=1)
_HEARTBEAT_SECONDS = 30  # the least that Prefect sends
SILENCE = timedelta(seconds=90)
_AUTOMATION = "sluice-silence"
_ENVIRONMENT = {
    **QUIET,
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(_HEARTBEAT_SECONDS),
    # Our own warnings belong on the flow run's page.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,workers,pipelines",
}
# On every flow run of ours that a worker runs: the automation must not judge one that a person started by hand.
_TAG = "sluice-deployed"


@dataclass(frozen=True)
class Registered:
    """A deployment, and where to look at it."""

    name: str
    url: str | None


def register_runs(client: SyncPrefectClient, work_pool: str, silence: timedelta = SILENCE) -> Registered:
    """Register what starts runs and what starts them again; the work pool is made if it is missing.

    Args:
        client: of the Prefect server.
        work_pool: its workers do the work; made with the type `process`.
        silence: how long a flow run may be without a heartbeat.
    """
    _ensure_work_pool(client, work_pool)
    _ensure_automation(client, silence)
    _register(client, watchdog, "watchdog", work_pool, schedule=IntervalSchedule(interval=_WATCHDOG_EVERY))
    return _register(client, process, "process", work_pool, queue=RUN_QUEUE)


def parse_cron(cron: str) -> CronSchedule:
    """A schedule in UTC.

    Raises:
        JobError: ``cron`` is no cron expression, not one of minutes, or never comes true.
    """
    fields = len(cron.split())
    try:
        schedule = CronSchedule(cron=cron, timezone="UTC")
    except ValueError:
        raise JobError([f"--cron: '{cron}' is no cron expression; an example is '0 3 * * *', daily at three"]) from None
    if fields > _CRON_FIELDS:  # a sixth would be read as seconds, behind the others: once a second for a minute
        raise JobError(
            [
                f"--cron: '{cron}' has {fields} fields, of which there are five: minute, hour, day, month, weekday; "
                "an example is '0 3 * * *', daily at three"
            ]
        )
    return schedule


def next_times(schedule: CronSchedule, count: int) -> tuple[str, ...]:
    """When a schedule fires next, in UTC.

    Raises:
        JobError: it never does.
    """
    try:
        dates = asyncio.run(Clockwork(cron=schedule.cron, timezone="UTC").get_dates(count))
    except ValueError:  # croniter has looked fifty years ahead
        raise JobError(
            [f"--cron: '{schedule.cron}' never fires: no month has such a day; an example is '0 3 1 * *', monthly"]
        ) from None
    return tuple(f"{date:%Y-%m-%d %H:%M}" for date in dates)


def register_schedule(client: SyncPrefectClient, job: Job, schedule: CronSchedule, work_pool: str) -> Registered:
    """Register the job's series: at every time that the schedule names, the next run is started.

    Raises:
        JobError: a job of this name is scheduled that writes elsewhere.
    """
    present = find_deployment(client, f"{take_new_files.name}/{job.name}")
    if present and (output := present.parameters["job"]["output"]) != job.output:
        raise JobError(
            [
                f"name: a job '{job.name}' is scheduled already, with the output '{output}'; choose another name, or "
                f"remove that schedule with `prefect deployment delete '{take_new_files.name}/{job.name}'`"
            ]
        )
    parameters = {"job": job.model_dump(mode="json")}
    if job.adapt is not None:
        _register(client, train_adapter, job.name, work_pool, queue=RUN_QUEUE, parameters=parameters)
    return _register(client, take_new_files, job.name, work_pool, schedule=schedule, parameters=parameters)


def start_run(job: Job, run_id: str, idempotency_key: str) -> str:
    """Have a worker process a committed run; asked again with the same key, it is the same flow run.

    Returns:
        The flow run's id.

    Raises:
        ServiceError: no Prefect server can be reached, or nothing is deployed there.
    """
    with prefect_client() as client:
        return str(create_flow_run(client, job, run_id, idempotency_key).id)


def _register(
    client: SyncPrefectClient,
    flow: Flow[Any, Any],
    name: str,
    work_pool: str,
    *,
    queue: str = "default",
    schedule: CronSchedule | IntervalSchedule | None = None,
    parameters: dict[str, Any] | None = None,
) -> Registered:
    deployment_id = client.create_deployment(
        flow_id=client.create_flow_from_name(flow.name),
        name=name,
        entrypoint=f"{flow.fn.__module__}.{flow.fn.__name__}",
        description=flow.description,
        parameters=parameters,
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        schedules=[DeploymentScheduleCreate(schedule=schedule)] if schedule else [],
        work_pool_name=work_pool,
        work_queue_name=queue,
        job_variables={"env": _ENVIRONMENT},
        tags=[_TAG],
    )
    return Registered(f"{flow.name}/{name}", url_for("deployment", deployment_id))


def _ensure_work_pool(client: SyncPrefectClient, name: str) -> None:
    """Make the pool and its queue of runs. What is there stays as it is: the pool may be of another type by choice."""
    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template))
    with suppress(ObjectAlreadyExists):
        client.create_work_queue(RUN_QUEUE, concurrency_limit=_RUNS_AT_ONCE, work_pool_name=name)


def _ensure_automation(client: SyncPrefectClient, silence: timedelta) -> None:
    endings = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut", AWAITING_CLAUDE)
    automation = AutomationCore(
        name=_AUTOMATION,
        description="A flow run without a heartbeat is dead, with its worker or its machine.",
        trigger=EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{_TAG}"}
            ),
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{ending}" for ending in endings)},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message=f"no heartbeat for {silence.total_seconds():.0f} seconds"
            )
        ],
    )
    present = client.read_automations_by_name(_AUTOMATION)
    if not present:
        client.create_automation(automation)
    # Not without need: a server of 3.7.7 on SQLite that meets an event while it takes in a change stands still for ever
    # (github.com/PrefectHQ/prefect/issues/23055).
    elif AutomationCore.model_validate(present[0].model_dump(exclude={"id"})) != automation:
        client.update_automation(present[0].id, automation)
