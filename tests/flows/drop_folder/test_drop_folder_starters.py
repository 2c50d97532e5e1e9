"""Who processes a run that a dropped file has started: asked twice, it is done once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.drop_folder.listener import listen_to
from flows.drop_folder.starters import StartHere, StartInPrefect
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, prepare_run
from flows.run_lock import sole_process
from flows.service.deployments import register_runs
from pipelines.errors import JobError, ServiceError
from pipelines.job.job_file import load_job
from pipelines.settings import settings
from tests.flows.drop_folder.drop_folder_case import DOCUMENT, write_job
from tests.scenarios.prefect_server import WORK_POOL, PrefectServer

# Prefect warns about itself while it loads.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    (tmp_path / "a.jsonl").write_bytes(DOCUMENT)
    job = load_job(write_job(tmp_path / "job.yaml", str(tmp_path / "results")), {"input": str(tmp_path / "a.jsonl")})
    yield prepare_run(job, check_surroundings(job), "run_dropped_1", is_frozen=True)
    settings.cache_clear()


def test_prefect_gets_one_flow_run_for_a_claim(run: Run, prefect_server: PrefectServer) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_server.url}), prefect_server.client() as client:
        register_runs(client, WORK_POOL)
        pages = {StartInPrefect().start(run, "drp_1") for _ in range(3)}
        [flow_run] = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=["run_dropped_1"]))
        )
        assert flow_run.idempotency_key == "drp_1"
        assert flow_run.parameters["run"] == run.store.root
        assert pages == {f"{prefect_server.url.removesuffix('/api')}/runs/flow-run/{flow_run.id}"}


def test_prefect_out_of_reach_is_to_be_tried_again(run: Run) -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ServiceError, match=r"^the Prefect server at http://127.0.0.1:9/api cannot be reached"),
    ):
        StartInPrefect().start(run, "drp_1")


def test_prefect_out_of_reach_is_told_before_the_first_file(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", str(tmp_path / "results"))
    (tmp_path / "inbox").mkdir()
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ServiceError, match=r"^the Prefect server at http://127.0.0.1:9/api cannot be reached"),
    ):
        listen_to(str(tmp_path / "inbox"), job, None, None, StartInPrefect(), print)


@pytest.mark.processes
def test_a_run_that_fails_here_is_to_be_tried_again_with_the_reason(run: Run) -> None:
    Path(run.store.root, "plan").write_text("where a folder is needed")
    with pytest.raises(ServiceError, match=r"^run run_dropped_1 is not done: \S"):
        StartHere().start(run, "drp_1")


def test_a_run_whose_job_is_refused_here_is_not_tried_again(run: Run) -> None:
    Path(run.store.root, "job.yaml").write_text("name: [")
    with pytest.raises(JobError) as caught:
        StartHere().start(run, "drp_1")
    assert "job.yaml:1: not YAML: " in caught.value.problems[0]


def test_a_run_that_another_process_has_in_hand_is_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    is_begun = Event()

    def begin(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        is_begun.set()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("flows.drop_folder.starters.subprocess.run", begin)
    starter = Thread(target=StartHere().start, args=(run, "claim"))
    with sole_process(run.run_id, run.store.root):
        starter.start()
        assert not is_begun.wait(0.5)
    assert is_begun.wait(30)
    starter.join(30)
