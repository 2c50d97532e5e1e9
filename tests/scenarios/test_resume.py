"""A deployed job left alone: its schedule fires, processes are killed, and nobody does anything about it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import pyarrow.dataset as dataset
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.service.deployments import register_runs
from pipelines.job.job import Job
from tests.flows.service.series_case import drop, tickets_job, write_job
from tests.scenarios.pipeline_command import PipelineCommand
from tests.scenarios.prefect_server import WORK_POOL, PrefectServer, end, running_worker

pytestmark = [
    pytest.mark.prove,
    pytest.mark.filterwarnings("ignore"),  # Prefect warns about itself while it loads
    pytest.mark.timeout(600),  # schedules fire by the minute
]

# So many that a run takes seconds, in which it can be killed.
MANY_ROWS = 20_000


@dataclass
class Deployed:
    """A job with a schedule, a server and a worker."""

    server: PrefectServer
    worker: subprocess.Popen[bytes]
    job: Job
    folder: Path

    @property
    def runs(self) -> list[Path]:
        return sorted((self.folder / "results").glob("run_*"))

    def fire(self) -> None:
        """Start the schedule's flow now, and wait for its end."""
        with self.server.client() as client:
            deployment = client.read_deployment_by_name(f"sluice-scheduled/{self.job.name}")
            fired = client.create_flow_run_from_deployment(deployment.id)
            self.wait(lambda: client.read_flow_run(fired.id).state.is_final())
            assert client.read_flow_run(fired.id).state_name == "Completed"

    def wait(self, happened: Callable[[], bool], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline, (self.server.home / "worker.log").read_text()[-5000:]
            time.sleep(0.2)

    def wait_complete(self, number: int) -> Path:
        self.wait(lambda: len(self.runs) >= number and (self.runs[number - 1] / "_COMPLETE").exists())
        return self.runs[number - 1]

    def wait_sent(self, number: int) -> None:
        """Until the run of that number has sent something to be answered."""
        self.wait(lambda: len(self.runs) >= number and any(self.runs[number - 1].glob("escalations/*/submitted-*")))

    def flow_process(self) -> int:
        (engine,) = [
            child.pid
            for child in psutil.Process(self.worker.pid).children(recursive=True)
            if "prefect.engine" in child.cmdline()
            and str(self.folder) in child.environ()["SLUICE_STATE_DIR"]
            and any("message_batches" in " ".join(grandchild.cmdline()) for grandchild in child.children())
        ]
        return engine

    def attempts(self, run: Path) -> list[FlowRun]:
        with self.server.client() as client:
            found = client.read_flow_runs(sort="EXPECTED_START_TIME_ASC")
        return [flow_run for flow_run in found if flow_run.parameters.get("run") == str(run)]


@pytest.fixture
def deployed(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Deployed]:
    job = tickets_job(tmp_path, name=f"tickets-{uuid.uuid4().hex[:8]}")
    pipeline = PipelineCommand(tmp_path, prefect_server.environment)
    done = pipeline.run(
        "deploy", write_job(tmp_path / "job.yaml", job), "--cron", "* * * * *", "--work-pool", WORK_POOL
    )
    assert done.returncode == 0, done.stderr
    with running_worker(prefect_server, tmp_path / "state") as worker:
        yield Deployed(prefect_server, worker, job, tmp_path)
        with prefect_server.client() as client:
            client.delete_deployment(client.read_deployment_by_name(f"sluice-scheduled/{job.name}").id)


def rows_by_file(run: Path) -> dict[str, int]:
    rows = dataset.dataset(run / "results").to_table().to_pylist()
    assert len({row["item_id"] for row in rows}) == len(rows), "a row is there twice"
    assert {row["route"] for row in rows} == {"escalated"}
    return dict(Counter(Path(row["document_uri"]).name for row in rows))


def test_the_schedule_takes_each_file_once(deployed: Deployed) -> None:
    drop(deployed.folder, "a"), drop(deployed.folder, "b")
    first = deployed.wait_complete(1)  # by the clock alone
    assert rows_by_file(first) == {"a.jsonl": 3, "b.jsonl": 3}

    deployed.fire()
    assert deployed.runs == [first], "nothing was new"

    drop(deployed.folder, "a", rows=5), drop(deployed.folder, "c"), drop(deployed.folder, "late", modified_at=10**9)
    deployed.fire()
    assert rows_by_file(deployed.wait_complete(2)) == {"a.jsonl": 5, "c.jsonl": 3, "late.jsonl": 3}


def test_a_killed_flow_process_is_resumed_by_itself(deployed: Deployed) -> None:
    drop(deployed.folder, "many", rows=MANY_ROWS)
    deployed.fire()
    deployed.wait_sent(1)
    os.kill(deployed.flow_process(), signal.SIGKILL)
    run = deployed.wait_complete(1)
    assert rows_by_file(run) == {"many.jsonl": MANY_ROWS}
    deployed.wait(lambda: [attempt.state_name for attempt in deployed.attempts(run)] == ["Resumed", "Completed"])
    assert deployed.runs == [run], "the schedule, which fired meanwhile, began no other"


def test_with_its_machine_a_run_is_lost_for_no_longer_than_the_silence(deployed: Deployed) -> None:
    """Worker and flow process die in the same moment: nobody is left to say so but the missing heartbeat."""
    with temporary_settings({PREFECT_API_URL: deployed.server.url}), deployed.server.client() as client:
        register_runs(client, WORK_POOL, silence=timedelta(seconds=40))
    drop(deployed.folder, "many", rows=MANY_ROWS)
    deployed.fire()
    deployed.wait_sent(1)
    end(deployed.worker)
    run = deployed.runs[0]
    assert not (run / "_COMPLETE").exists()
    assert [attempt.state_name for attempt in deployed.attempts(run)] == ["Running"]
    with running_worker(deployed.server, deployed.folder / "state"):
        deployed.wait_complete(1)
    assert rows_by_file(run) == {"many.jsonl": MANY_ROWS}
    first, *_ = deployed.attempts(run)
    assert first.state_name == "Resumed"
