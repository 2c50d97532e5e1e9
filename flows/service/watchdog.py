"""The flow that starts again what has died: every minute, from what Prefect and the runs' stores say.

A dead flow run gets one successor, at once or, after the first try, with growing delay; then it is marked, so that it
is looked at no more. Killed between the two steps, the next round does the same again: the dead flow run's id is the
successor's idempotency key. Resumption itself is by the store: the successor does what is not committed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger
from prefect.states import Crashed, Scheduled

from flows.process import AWAITING_CLAUDE
from flows.service.prefect_api import TRAINING_FLOW, prefect_client
from pipelines.errors import RunNotFoundError, StoreError
from pipelines.store import layout
from pipelines.store.runs import open_store

GAVE_UP = "GaveUp"
_SUCCEEDED = "Resumed"
_FLOWS = ["sluice-run", "sluice-scheduled", TRAINING_FLOW]
_DEAD = ["Crashed", "Failed", "TimedOut", AWAITING_CLAUDE]
_ALIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]

_MOST_ATTEMPTS = 6
_FIRST_DELAY, _LONGEST_DELAY = timedelta(minutes=1), timedelta(minutes=30)
_COLLECT_EVERY = timedelta(minutes=5)
# A worker that dies between taking a flow run and starting its process leaves it pending. A new node may take long.
_LONGEST_PENDING = timedelta(minutes=45)
_ATTEMPT = "attempt-"

# Prefect's own, because what this one does is to be read on its flow run's page.
_log = get_logger("flow_runs.watchdog")


@flow(name="sluice-watchdog")
def watchdog() -> None:
    """Start again every flow run of a deployment that has died before its run was complete."""
    with prefect_client() as client:
        look_after(client, datetime.now(UTC))


def look_after(client: SyncPrefectClient, now: datetime) -> None:
    """Look once at all flow runs, and give each that died a successor."""
    for flow_run in _find(client, FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))):
        assert flow_run.state
        if now - flow_run.state.timestamp > _LONGEST_PENDING:
            client.set_flow_run_state(flow_run.id, Crashed(message="pending for too long: its worker is gone"), True)
    for flow_run in _find(client, FlowRunFilterState(name=FlowRunFilterStateName(any_=_DEAD))):
        try:
            _see_to(client, flow_run, now)
        except StoreError as error:
            _log.warning("flow run %s: %s", flow_run.name, error)  # the next round looks again


def successor_key(dead: FlowRun) -> str:
    """Idempotency key of the one flow run that follows a dead one."""
    return f"after-{dead.id}"


def is_cared_for(flow_run: FlowRun) -> bool:
    """Whether the flow run lives, or is dead and will be followed by another."""
    return flow_run.state_type in _ALIVE or flow_run.state_name in _DEAD


def _find(client: SyncPrefectClient, state: FlowRunFilterState) -> list[FlowRun]:
    """As many as the server gives at once; each round makes room for the rest."""
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=_FLOWS)),
        flow_run_filter=FlowRunFilter(state=state, deployment_id=FlowRunFilterDeploymentId(is_null_=False)),
    )


def _see_to(client: SyncPrefectClient, dead: FlowRun, now: datetime) -> None:
    assert dead.state and dead.deployment_id
    attempt, is_waiting = _attempt_of(dead), dead.state.name == AWAITING_CLAUDE
    try:
        if _is_done(dead):
            _mark(client, dead, "Completed" if is_waiting else _SUCCEEDED, "the run is complete")
        elif _has_other(client, dead):
            _mark(client, dead, _SUCCEEDED, "another flow run is at it")
        elif attempt >= _MOST_ATTEMPTS and not is_waiting:
            _give_up(client, dead, f"{attempt} attempts have ended so")
        else:
            _start_again(client, dead, attempt, is_waiting, now)
    except (RunNotFoundError, ObjectNotFound) as error:
        _give_up(client, dead, f"what it needs was removed: {error}")


def _is_done(dead: FlowRun) -> bool:
    """Whether the run is complete, whoever has completed it; a flow run of a schedule is done only by succeeding."""
    return "run" in dead.parameters and open_store(dead.parameters["run"]).exists(layout.COMPLETE)


def _has_other(client: SyncPrefectClient, dead: FlowRun) -> bool:
    """Whether a living flow run has the same run."""
    if "run" not in dead.parameters:
        return False
    alive = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ALIVE)),
            tags=FlowRunFilterTags(all_=[tag for tag in dead.tags if not tag.startswith(_ATTEMPT)]),
        )
    )
    key = successor_key(dead)
    return any(
        other.parameters.get("run") == dead.parameters["run"] and other.idempotency_key != key for other in alive
    )


def _start_again(client: SyncPrefectClient, dead: FlowRun, attempt: int, is_waiting: bool, now: datetime) -> None:
    assert dead.deployment_id
    ended_at = dead.end_time or now
    starts_at = ended_at + (_COLLECT_EVERY if is_waiting else delay_before(attempt + 1))
    tags = [tag for tag in dead.tags if not tag.startswith(_ATTEMPT)]
    successor = client.create_flow_run_from_deployment(
        dead.deployment_id,
        parameters=dead.parameters,
        state=Scheduled(scheduled_time=max(now, starts_at)),
        tags=tags if is_waiting else [*tags, f"{_ATTEMPT}{attempt + 1}"],
        idempotency_key=successor_key(dead),
    )
    _log.info("flow run %s (%s) goes on as %s", dead.name, dead.state_name, successor.id)
    _mark(client, dead, "Completed" if is_waiting else _SUCCEEDED, f"goes on as flow run {successor.id}")


def delay_before(attempt: int) -> timedelta:
    """How long to wait before the attempt of that number: none before the second, which is the first resumption."""
    if attempt <= 2:
        return timedelta()
    return min(_FIRST_DELAY * (1 << (attempt - 3)), _LONGEST_DELAY)


def _attempt_of(flow_run: FlowRun) -> int:
    return next((int(tag.removeprefix(_ATTEMPT)) for tag in flow_run.tags if tag.startswith(_ATTEMPT)), 1)


def _give_up(client: SyncPrefectClient, dead: FlowRun, reason: str) -> None:
    last_words = dead.state.message if dead.state else None
    message = f"{reason} ({last_words}); mend the cause and start it again: it goes on where it stood"
    _log.error("flow run %s: %s", dead.name, message)
    _mark(client, dead, GAVE_UP, message)


def _mark(client: SyncPrefectClient, dead: FlowRun, name: str, message: str) -> None:
    """Give the flow run a name for its state by which it is not looked at again."""
    assert dead.state
    state: State[None] = State(type=dead.state.type, name=name, message=message)
    client.set_flow_run_state(dead.id, state, force=True)
