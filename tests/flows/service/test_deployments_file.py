"""prefect.yaml registers what `pipeline deploy` registers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.service.deploy import deploy_job
from pipelines.job.job import Job
from tests.flows.service.series_case import tickets_job, write_job
from tests.scenarios.prefect_server import PrefectServer, running_worker

# Prefect warns about itself while it loads.
pytestmark = [pytest.mark.prove, pytest.mark.filterwarnings("ignore")]

REPOSITORY = Path(__file__).resolve().parents[3]
NAMES = ("sluice-run/process", "sluice-watchdog/watchdog", "sluice-scheduled/support-tickets")
COMPARED = ("tags", "work_pool_name", "work_queue_name", "job_variables", "parameter_openapi_schema")


def registered(server: PrefectServer) -> dict[str, dict[str, Any]]:
    with server.client() as client:
        found = {name: client.read_deployment_by_name(name) for name in NAMES}
    return {
        name: {field: getattr(deployment, field) for field in COMPARED}
        | {"flow": str(deployment.entrypoint).replace("/", ".").replace(".py:", ".")}
        | {"schedules": [getattr(s.schedule, "cron", None) or s.schedule.interval for s in deployment.schedules]}
        for name, deployment in found.items()
    }


def test_the_file_and_the_command_agree(prefect_server: PrefectServer, tmp_path: Path) -> None:
    job = tickets_job(tmp_path, name="support-tickets")
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        deploy_job(write_job(tmp_path / "job.yaml", job), "0 3 * * *", None, "sluice")
    by_command = registered(prefect_server)
    with prefect_server.client() as client:
        for name in NAMES:
            client.delete_deployment(client.read_deployment_by_name(name).id)

    command = [Path(sys.executable).parent / "prefect", "--no-prompt", "deploy", "--all"]
    environment = os.environ | prefect_server.environment | {"SLUICE_CHECKOUT": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert registered(prefect_server) == by_command
    with prefect_server.client() as client:
        kept = client.read_deployment_by_name("sluice-scheduled/support-tickets").parameters["job"]
        assert Job.model_validate(kept).name == "support-tickets"
        started = client.create_flow_run_from_deployment(client.read_deployment_by_name(NAMES[1]).id)
        with running_worker(prefect_server, tmp_path, "sluice"):
            while (state := client.read_flow_run(started.id).state) and not state.is_final():
                time.sleep(0.5)
        assert state and state.is_completed(), state
