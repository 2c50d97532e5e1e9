"""`pipeline listen` as it is used, and the promise of one run per file while listeners are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from tests.bench.children import COMMAND, REPOSITORY
from tests.bench.drop_folder import prove
from tests.flows.drop_folder.drop_folder_case import write_job
from tests.flows.drop_folder.test_drop_folder import waiting
from tests.flows.drop_folder.test_drop_folder_queue import make_queue
from tests.s3_fixtures import Bucket
from tests.scenarios.pipeline_command import PipelineCommand

pytestmark = pytest.mark.processes

STATUS = "status/in/a b+é.jsonl.json"
ROWS = (
    b'{"id": "1", "text": "the invoice is wrong", "label": "billing", "may_leave": false}\n'
    b'{"id": "2", "text": "hello", "label": "other", "may_leave": false}\n'
)


@pytest.mark.prove
def test_files_dropped_while_two_listeners_are_killed_become_one_run_each(tmp_path: Path) -> None:
    proof = prove(60, tmp_path, seed=4)
    assert proof.problems == []
    assert proof.kills >= 2


@contextmanager
def listening(pipeline: PipelineCommand, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [COMMAND, "listen", *map(str, arguments)],
        cwd=REPOSITORY,
        env=pipeline.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[str], done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.prove
def test_a_local_folder_is_listened_to(pipeline: PipelineCommand, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "tickets.jsonl").write_bytes(ROWS)  # before the listener starts
    job = write_job(tmp_path / "job.yaml", str(tmp_path / "results"), policy={})
    with listening(pipeline, inbox, "--job", job, "--poll-seconds", "0.5") as listener:
        status = inbox / "status" / "tickets.jsonl.json"
        wait_for(listener, status.is_file)
        (inbox / "scan.tiff").write_bytes(b"II*")  # while it listens
        wait_for(listener, (inbox / "rejected" / "scan.tiff.rejected.json").is_file)
        listener.send_signal(signal.SIGTERM)
        out, _ = listener.communicate(timeout=60)
    assert listener.returncode == 0
    run = json.loads(status.read_text())["run"]
    log, started, rejected, stopped = out.splitlines()[0], *out.splitlines()[-3:]
    assert log.startswith("log ") and stopped == "stopped"
    assert started.endswith(f" started {Path(run).name}") and rejected.endswith(" rejected")
    assert "tickets.jsonl" not in started and "scan" not in rejected, "ids only"
    assert pipeline.run_json("status", run)["state"] == "complete"
    rows = dataset.dataset(f"{run}/results").to_table().to_pylist()
    assert [(row["document_id"], row["route"]) for row in rows] == [("1", "escalated"), ("2", "escalated")]


def test_a_bucket_is_listened_to_through_its_queue(pipeline: PipelineCommand, tmp_path: Path, s3: Bucket) -> None:
    sqs = s3.client("sqs")
    url = make_queue(sqs, f"{s3.name}-drops", visibility_seconds=30, tries=3)
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    notify = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.client().put_bucket_notification_configuration(
        Bucket=s3.name, NotificationConfiguration={"QueueConfigurations": [notify]}
    )
    job = write_job(tmp_path / "job.yaml", f"{s3.uri}/results")
    environment = {**pipeline.extra_environment, **s3.server.client_variables()}
    command = PipelineCommand(pipeline.home, environment)
    with listening(command, f"{s3.uri}/in/", "--job", job, "--queue", url) as listener:
        s3.put("in/", b"")
        s3.put("in/upload.jsonl.part", ROWS[:20])
        s3.put("in/a b+é.jsonl", ROWS)
        wait_for(listener, lambda: STATUS in s3.all_keys() and waiting(sqs, url) == 0)
        listener.send_signal(signal.SIGINT)
        out, _ = listener.communicate(timeout=60)
    assert (listener.returncode, out.splitlines()[-1]) == (0, "stopped")
    status = json.loads(s3.get(STATUS))
    assert command.run_json("status", status["run"])["state"] == "complete"
    keys = s3.all_keys()
    assert [key for key in keys if key.endswith("/run.json")] == [f"results/{status['run_id']}/run.json"]
    assert [key for key in keys if key.startswith("rejected/")] == []


def test_wrong_options_are_told_at_once(pipeline: PipelineCommand, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", str(tmp_path / "results"))
    ran = pipeline.run("listen", tmp_path / "nowhere", "--job", job)
    assert ran.returncode == 2
    assert ran.stderr == (
        f"pipeline: 1 problem in the command\n  FOLDER: no folder '{tmp_path}/nowhere'; create it or mend the path\n"
    )
