"""Which flow runs the watchdog starts again, when, and when it stops trying; on a real server, without a worker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.preflight.surroundings import check_surroundings
from flows.process import AWAITING_CLAUDE
from flows.run import prepare_run
from flows.service.deploy import deploy_job
from flows.service.scheduled import take_new_files
from flows.service.watchdog import delay_before, look_after
from pipelines.job.job import Job
from pipelines.settings import settings
from tests.flows.service.series_case import complete, drop, tickets_job, write_job
from tests.scenarios.prefect_server import WORK_POOL, PrefectServer

# Prefect warns about itself while it loads.
pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass
class Case:
    """A run that is committed, and what Prefect knows of it."""

    client: SyncPrefectClient
    job: Job
    root: str
    run_id: str

    def flow_runs(self) -> list[FlowRun]:
        """Of this run, the oldest first."""
        found = self.client.read_flow_runs(sort="EXPECTED_START_TIME_ASC")
        return [flow_run for flow_run in found if flow_run.parameters.get("run") == self.root]

    def start(self) -> FlowRun:
        deployment = self.client.read_deployment_by_name("sluice-run/process")
        return self.client.create_flow_run_from_deployment(
            deployment.id, parameters={"run": self.root, "wait": False}, tags=[self.run_id]
        )

    def end(self, flow_run: FlowRun, name: str, kind: StateType = StateType.CRASHED) -> None:
        ended: State[None] = State(type=kind, name=name, message="out of memory")
        self.client.set_flow_run_state(flow_run.id, ended, force=True)

    def states(self) -> list[str]:
        return [str(flow_run.state_name) for flow_run in self.flow_runs()]


@pytest.fixture(scope="module")
def scheduled(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The job that was deployed, and with it what runs every run; seconds, so once for all tests."""
    folder = tmp_path_factory.mktemp("scheduled")
    job = tickets_job(folder, name=f"scheduled-{uuid.uuid4().hex[:8]}")
    with pytest.MonkeyPatch.context() as environment, temporary_settings({PREFECT_API_URL: prefect_server.url}):
        environment.setenv("SLUICE_STATE_DIR", str(folder / "state"))
        settings.cache_clear()
        deploy_job(write_job(folder / "job.yaml", job), "0 3 1 1 *", None, WORK_POOL)
        yield job.name


@pytest.fixture
def case(
    prefect_server: PrefectServer, scheduled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    job = tickets_job(tmp_path, name=f"tickets-{uuid.uuid4().hex[:8]}")
    drop(tmp_path, "a")
    run = prepare_run(job, check_surroundings(job))
    with prefect_server.client() as client:
        yield Case(client, job, run.store.root, run.run_id)
        for flow_run in client.read_flow_runs():  # no worker of another test shall take them
            if flow_run.parameters:  # those of a schedule have none, and the server makes them anew
                client.delete_flow_run(flow_run.id)
    settings.cache_clear()


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(("name", "kind"), [("Crashed", StateType.CRASHED), ("Failed", StateType.FAILED)])
def test_a_dead_flow_run_gets_one_successor_at_once(case: Case, name: str, kind: StateType) -> None:
    case.end(case.start(), name, kind)
    for _ in range(3):
        look_after(case.client, now())
    dead, successor = case.flow_runs()
    assert (dead.state_name, successor.state_name) == ("Resumed", "Scheduled")
    assert dead.state and dead.state.message == f"goes on as flow run {successor.id}"
    assert successor.parameters == dead.parameters
    assert {case.run_id, "sluice-deployed", "attempt-2"} <= set(successor.tags)
    assert successor.expected_start_time and successor.expected_start_time <= now()


def test_killed_between_the_two_steps_it_does_the_same_again(case: Case) -> None:
    first = case.start()
    case.end(first, "Crashed")
    look_after(case.client, now())
    case.end(first, "Crashed")  # as if the mark had never been set
    look_after(case.client, now())
    assert case.states() == ["Resumed", "Scheduled"]


def test_it_waits_longer_each_time_and_then_gives_up(case: Case) -> None:
    case.start()
    for attempt in range(2, 7):
        case.end(case.flow_runs()[-1], "Crashed")
        look_after(case.client, now())
        newest = case.flow_runs()[-1]
        assert f"attempt-{attempt}" in newest.tags
        assert newest.expected_start_time
        wait = newest.expected_start_time - now()
        assert delay_before(attempt) - timedelta(minutes=1) < wait <= delay_before(attempt)
    case.end(case.flow_runs()[-1], "Crashed")
    look_after(case.client, now())
    assert case.states() == ["Resumed"] * 5 + ["GaveUp"]
    state = case.flow_runs()[-1].state
    assert state and state.message == (
        "6 attempts have ended so (out of memory); mend the cause and start it again: it goes on where it stood"
    )
    look_after(case.client, now())
    assert len(case.flow_runs()) == 6


def test_the_delays_double_up_to_half_an_hour() -> None:
    assert [delay_before(attempt) / timedelta(minutes=1) for attempt in range(2, 10)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_a_run_that_waits_for_claude_is_looked_at_again_without_end(case: Case) -> None:
    case.start()
    for _ in range(8):
        case.end(case.flow_runs()[-1], AWAITING_CLAUDE, StateType.COMPLETED)
        look_after(case.client, now())
    assert case.states() == ["Completed"] * 8 + ["Scheduled"]
    newest = case.flow_runs()[-1]
    assert not any(tag.startswith("attempt-") for tag in newest.tags)
    assert newest.expected_start_time and timedelta(minutes=4) < newest.expected_start_time - now()


def test_a_complete_run_is_left_alone_whatever_prefect_says(case: Case) -> None:
    case.end(case.start(), "Crashed")
    complete(case.root)
    look_after(case.client, now())
    assert case.states() == ["Resumed"]


def test_a_run_that_another_flow_run_has_is_left_to_that_one(case: Case) -> None:
    dead = case.start()
    case.start()
    case.end(dead, "Crashed")
    look_after(case.client, now())
    assert sorted(case.states()) == ["Resumed", "Scheduled"]


def test_what_a_person_cancelled_stays_cancelled(case: Case) -> None:
    case.end(case.start(), "Cancelled", StateType.CANCELLED)
    look_after(case.client, now())
    assert case.states() == ["Cancelled"]


def test_a_run_whose_folder_is_gone_is_given_up(case: Case) -> None:
    case.end(case.start(), "Crashed")
    (Path(case.root) / "run.json").unlink()
    look_after(case.client, now())
    assert case.states() == ["GaveUp"]


def test_a_flow_run_that_stays_pending_has_lost_its_worker(case: Case) -> None:
    case.client.set_flow_run_state(case.start().id, State(type=StateType.PENDING, name="Pending"), force=True)
    look_after(case.client, now() + timedelta(minutes=40))
    assert case.states() == ["Pending"]
    look_after(case.client, now() + timedelta(minutes=50))
    assert case.states() == ["Resumed", "Scheduled"]


def test_a_schedule_that_died_is_fired_again(case: Case, scheduled: str) -> None:
    deployment = case.client.read_deployment_by_name(f"sluice-scheduled/{scheduled}")
    dead = case.client.create_flow_run_from_deployment(deployment.id)
    case.end(dead, "Crashed")
    look_after(case.client, now())
    fired = [run for run in case.client.read_flow_runs() if run.idempotency_key == f"after-{dead.id}"]
    assert [run.deployment_id for run in fired] == [deployment.id]


def test_a_schedule_fired_twice_starts_its_run_once(case: Case) -> None:
    job = case.job.model_dump(mode="json")
    for _ in range(3):
        take_new_files(job)
    (root,) = {run.parameters["run"] for run in series_runs(case)}
    assert len(series_runs(case)) == 1

    case.end(series_runs(case)[0], "Crashed")
    take_new_files(job)
    assert len(series_runs(case)) == 1, "what is dead is left to the watchdog"

    case.end(series_runs(case)[0], "GaveUp")
    take_new_files(job)
    assert len(series_runs(case)) == 2, "what was given up is tried again at the next time of the schedule"

    complete(root)
    take_new_files(job)
    assert len(series_runs(case)) == 2, "nothing is new"


def series_runs(case: Case) -> list[FlowRun]:
    found = case.client.read_flow_runs(sort="EXPECTED_START_TIME_ASC")
    return [run for run in found if f"run_{case.job.name}_00001_" in str(run.parameters.get("run"))]
