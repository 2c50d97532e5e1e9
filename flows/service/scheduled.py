"""The flow that a schedule starts: it claims the next run of a series and hands it to a worker.

It holds nothing and scores nothing itself. Fired twice, or again after a kill, it finds what is claimed and starts
that: the claim is in the store, and the run's root is the idempotency key of its flow run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.sorting import FlowRunSort

from flows.deciding.series_adapters import due
from flows.preflight.surroundings import check_surroundings
from flows.run import Run
from flows.series import Series
from flows.service.prefect_api import create_flow_run, create_training, prefect_client
from flows.service.watchdog import is_cared_for, successor_key
from pipelines.errors import SluiceError
from pipelines.job.job import Job


@flow(name="sluice-scheduled", flow_run_name="{job[name]}")
def take_new_files(job: dict[str, Any]) -> None:
    """Start the next run of the job's series over the files that are new; an unfinished run comes first.

    Args:
        job: the job file's content, with absolute paths.
    """
    parsed = Job.model_validate(job)
    series = Series(parsed)
    run = series.unfinished()
    if run is None:
        claimed = series.claim_next(check_surroundings(parsed, may_be_empty=True))
        run = claimed.run if claimed else None
    if run is None:
        get_run_logger().info("nothing in '%s' is new or changed since the last run", parsed.input)
    else:
        _ensure_started(run)
    if parsed.adapt is not None:
        _ensure_trained(series)


def _ensure_trained(series: Series) -> None:
    """Have a worker train what is due, behind the run; the series goes on without, if it cannot be."""
    try:
        training = due(series, datetime.now(UTC))
        if training is None:
            return
        with prefect_client() as client:
            started = create_training(client, series.job, series.adapters.folder_of(training.number))
        get_run_logger().info("training %s of the series: flow run %s", training.number, started.id)
    except SluiceError as error:
        get_run_logger().warning("no adapter is trained this time: %s", error)


def _ensure_started(run: Run) -> None:
    """Start the run, unless a flow run has it: alive, or dead and left to the watchdog."""
    with prefect_client() as client:
        flow_runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[run.run_id])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        )
        newest = next((found for found in flow_runs if found.parameters.get("run") == run.store.root), None)
        if newest and is_cared_for(newest):
            get_run_logger().info("run %s is under way (%s); nothing new is started", run.run_id, newest.state_name)
            return
        started = create_flow_run(client, run.job, run.run_id, successor_key(newest) if newest else run.store.root)
        get_run_logger().info("run %s: flow run %s", run.run_id, started.id)
