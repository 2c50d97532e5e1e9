"""What `pipeline deploy` registers, on a real Prefect server: once, however often it is run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.deciding.series_adapters import due
from flows.preflight.surroundings import check_surroundings
from flows.run import prepare_run
from flows.series import Series
from flows.service import scheduled
from flows.service.deploy import deploy_job
from flows.service.deployments import SILENCE, register_runs, start_run
from flows.service.scheduled import take_new_files
from pipelines.documents.sources.sources import list_sources
from pipelines.errors import JobError, ServiceError
from pipelines.settings import settings
from tests.flows.service.series_case import complete, drop, tickets_job, write_job
from tests.scenarios.prefect_server import WORK_POOL, PrefectServer

# Prefect warns about itself while it loads.
pytestmark = pytest.mark.filterwarnings("ignore")

HOW_TO_START = (
    "start one with `prefect server start --host 127.0.0.1`, say where it is with "
    "`export PREFECT_API_URL=http://127.0.0.1:4200/api`, and run the same command again"
)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def server(prefect_server: PrefectServer) -> Iterator[PrefectServer]:
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        yield prefect_server


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    return write_job(tmp_path / "job.yaml", tickets_job(tmp_path, name=f"tickets-{uuid.uuid4().hex[:8]}"))


def test_deploying_again_updates_and_never_doubles(server: PrefectServer, job_file: Path) -> None:
    first = deploy_job(job_file, "0 3 * * *", None, WORK_POOL)
    again = deploy_job(job_file, "30 4 * * *", "s3://inbox/tickets/", WORK_POOL)
    assert first.schedule == again.schedule
    assert first.page == again.page
    assert [time.split()[1] for time in again.next_runs] == ["04:30"] * 3

    with server.client() as client:
        deployments = [d for d in client.read_deployments() if d.name in ("process", "watchdog", first.job)]
        assert sorted(d.name for d in deployments) == ["process", first.job, "watchdog"]
        (schedule,) = next(d for d in deployments if d.name == first.job).schedules
        assert schedule.schedule.cron == "30 4 * * *"
        assert len(client.read_automations_by_name("sluice-silence")) == 1
        assert client.read_work_queue_by_name("runs", WORK_POOL).concurrency_limit == 1


def test_an_automation_is_changed_only_where_it_differs(
    server: PrefectServer, job_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_job(job_file, "0 3 * * *", None, WORK_POOL)
    changed: list[str] = []
    monkeypatch.setattr(SyncPrefectClient, "update_automation", lambda *given: changed.append(given[2].name))
    deploy_job(job_file, "30 4 * * *", None, WORK_POOL)
    assert changed == []
    with server.client() as client:
        register_runs(client, WORK_POOL, SILENCE + timedelta(seconds=1))
    assert changed == ["sluice-silence"]


def test_the_printout_says_where_to_look_and_what_must_run(server: PrefectServer, job_file: Path) -> None:
    deployed = deploy_job(job_file, "0 3 * * *", "s3://inbox/my tickets/", WORK_POOL)
    lines = deployed.as_lines()
    assert lines[0].startswith(f"schedule  sluice-scheduled/{deployed.job}; next at 20")
    assert lines[1:] == [
        "          the job is kept with the schedule: after a change of the file, deploy it again",
        f"look      {deployed.page}",
        f"worker    prefect worker start --pool {WORK_POOL}   must be running somewhere",
        f"now       prefect deployment run sluice-scheduled/{deployed.job}",
        f"listen    pipeline listen 's3://inbox/my tickets/' --job {job_file} --prefect   must be running somewhere",
    ]
    assert deployed.page and deployed.page.startswith(server.url.removesuffix("/api"))
    assert deployed.as_json()["next_runs"] == deployed.next_runs


def test_the_schedule_keeps_the_job_with_absolute_paths(
    server: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold.csv").write_text("id,label\n1,billing\n")
    job = tickets_job(tmp_path, name="relative", input="inbox", output="results", evaluation={"gold_file": "gold.csv"})
    deploy_job(write_job(tmp_path / "job.yaml", job), "@daily", None, WORK_POOL)
    with server.client() as client:
        kept = client.read_deployment_by_name("sluice-scheduled/relative").parameters["job"]
    assert kept["input"] == str(tmp_path / "inbox")
    assert kept["output"] == str(tmp_path / "results")
    assert kept["evaluation"]["gold_file"] == str(tmp_path / "gold.csv")


def test_a_job_of_the_same_name_that_writes_elsewhere_is_refused(server: PrefectServer, tmp_path: Path) -> None:
    job = tickets_job(tmp_path, name="taken")
    deploy_job(write_job(tmp_path / "job.yaml", job), "@daily", None, WORK_POOL)
    elsewhere = tickets_job(tmp_path, name="taken", output=str(tmp_path / "elsewhere"))
    with pytest.raises(JobError) as caught:
        deploy_job(write_job(tmp_path / "other.yaml", elsewhere), "@daily", None, WORK_POOL)
    assert caught.value.problems == [
        f"name: a job 'taken' is scheduled already, with the output '{job.output}'; choose another name, or remove "
        "that schedule with `prefect deployment delete 'sluice-scheduled/taken'`"
    ]


def test_a_bad_cron_expression_is_refused(server: PrefectServer, job_file: Path) -> None:
    with pytest.raises(JobError) as caught:
        deploy_job(job_file, "every night", None, WORK_POOL)
    assert caught.value.problems == [
        "--cron: 'every night' is no cron expression; an example is '0 3 * * *', daily at three"
    ]


def test_a_job_that_cannot_run_is_refused_and_an_empty_inbox_is_not(server: PrefectServer, tmp_path: Path) -> None:
    job = tickets_job(tmp_path, name="wrong", output=str(tmp_path / "no" / "such" / "folder"))
    with pytest.raises(JobError, match="no folder"):
        deploy_job(write_job(tmp_path / "job.yaml", job), "@daily", None, WORK_POOL)
    deploy_job(write_job(tmp_path / "job.yaml", tickets_job(tmp_path, name="empty")), "@daily", None, WORK_POOL)


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/api"])
def test_without_a_server_it_says_how_to_start_one(job_file: Path, url: str | None) -> None:
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(ServiceError) as caught:
        deploy_job(job_file, "@daily", None, WORK_POOL)
    if url is None:
        assert str(caught.value) == f"no Prefect server is configured; {HOW_TO_START}"
    else:
        assert str(caught.value).startswith(f"the Prefect server at {url} cannot be reached (")
        assert str(caught.value).endswith(f"); {HOW_TO_START}")


def test_a_run_is_started_once_for_one_key(server: PrefectServer, job_file: Path, tmp_path: Path) -> None:
    deploy_job(job_file, None, "s3://inbox/", WORK_POOL)
    drop(tmp_path, "a")
    job = tickets_job(tmp_path)
    run = prepare_run(job, check_surroundings(job))
    started = [start_run(job, run.run_id, f"key-of-{run.run_id}") for _ in range(3)]
    assert len(set(started)) == 1
    with server.client() as client:
        flow_run = client.read_flow_run(started[0])
        client.delete_flow_run(flow_run.id)  # no worker of another test shall take it
    assert flow_run.parameters == {"run": run.store.root, "wait": True}
    assert {run.run_id, "sluice-deployed"} <= set(flow_run.tags)
    assert flow_run.work_queue_name == "runs"


def test_without_a_deployment_a_start_says_what_to_do(server: PrefectServer, tmp_path: Path) -> None:
    with server.client() as client:
        present = [d for d in client.read_deployments() if d.name == "process"]
        for deployment in present:
            client.delete_deployment(deployment.id)
    with pytest.raises(ServiceError) as caught:
        start_run(tickets_job(tmp_path), "run_x", "key")
    assert str(caught.value) == (
        "Prefect has no deployment 'sluice-run/process'; register it with `pipeline deploy`, then try again"
    )


@pytest.mark.prove
def test_a_series_that_adapts_has_its_training_started_once_however_often_the_schedule_fires(
    server: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"adapting-{uuid.uuid4().hex[:8]}"
    job = tickets_job(tmp_path, name=name, model="starter", quality={"target": 0.9}, adapt={"every": "1d"})
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job.model_dump(mode="json", exclude_none=True)))
    deploy_job(path, "@daily", None, WORK_POOL)
    drop(tmp_path, "a")
    claimed = Series(job).claim_next(list_sources(job.input))
    assert claimed
    complete(claimed.run.store.root)

    def started() -> list[FlowRun]:
        with server.client() as client:
            deployment = client.read_deployment_by_name(f"sluice-adapt/{name}")
            assert deployment.parameters["job"] == job.model_dump(mode="json")
            assert deployment.work_queue_name == "runs"
            only = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
            return client.read_flow_runs(flow_run_filter=only)

    take_new_files(job.model_dump(mode="json"))
    assert started() == [], "none is due before a day has passed"
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr(scheduled, "due", lambda series, now: due(series, tomorrow))
    for _ in range(2):
        take_new_files(job.model_dump(mode="json"))
    [training] = started()
    assert training.idempotency_key == Series(job).adapters.folder_of(1)
