"""The Prefect server that schedules and restarts runs: the connection, and how a run is handed to it.

Prefect would start a server of its own, for the length of one command, where none is named: of no use to a schedule.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from pipelines.errors import ServiceError
from pipelines.job.job import Job
from pipelines.store import layout
from pipelines.store.objects import Store

_PROCESS_DEPLOYMENT = "sluice-run/process"
TRAINING_FLOW = "sluice-adapt"

_HOW_TO_START = (
    "start one with `prefect server start --host 127.0.0.1`, say where it is with "
    "`export PREFECT_API_URL=http://127.0.0.1:4200/api`, and run the same command again"
)


@contextmanager
def prefect_client() -> Iterator[SyncPrefectClient]:
    """A client of the configured server.

    Raises:
        ServiceError: none is configured, or it cannot be reached, now or while the block runs.
    """
    url = get_current_settings().api.url
    if url is None:
        raise ServiceError(f"no Prefect server is configured; {_HOW_TO_START}")
    try:
        with get_client(sync_client=True) as client:
            client.hello()
            yield client
    except httpx.TransportError as error:
        raise ServiceError(f"the Prefect server at {url} cannot be reached ({error}); {_HOW_TO_START}") from error


def find_deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """The deployment of that name, `flow/deployment`."""
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def create_flow_run(client: SyncPrefectClient, job: Job, run_id: str, idempotency_key: str) -> FlowRun:
    """Have a worker process a committed run; asked again with the same key, it is the same flow run.

    Raises:
        ServiceError: nothing is deployed there.
    """
    deployment = find_deployment(client, _PROCESS_DEPLOYMENT)
    if deployment is None:
        raise ServiceError(
            f"Prefect has no deployment '{_PROCESS_DEPLOYMENT}'; register it with `pipeline deploy`, then try again"
        )
    # A simulation's answers are there within seconds, and the service that gives them ends with the process.
    wait = job.provider == "simulation"
    return client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"run": Store(layout.below(job.output, run_id)).root, "wait": wait},
        tags=[run_id],
        idempotency_key=idempotency_key,
    )


def create_training(client: SyncPrefectClient, job: Job, idempotency_key: str) -> FlowRun:
    """Have a worker train what is due in a job's series; asked again with the same key, it is the same flow run.

    Raises:
        ServiceError: nothing is deployed there.
    """
    name = f"{TRAINING_FLOW}/{job.name}"
    deployment = find_deployment(client, name)
    if deployment is None:
        raise ServiceError(f"Prefect has no deployment '{name}'; deploy the job again with `pipeline deploy --cron`")
    return client.create_flow_run_from_deployment(deployment.id, idempotency_key=idempotency_key)
