"""The local stand-ins themselves: they keep what they promise to tests and to people who try the S3 side."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.local.s3 import Emulator, FaultProxy, Faults, ToolError, tool_environments, tool_python
from tests.s3_fixtures import Bucket

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).resolve().parents[2]


def client(variables: dict[str, str], service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_objects_outlive_a_kill_and_queues_an_orderly_stop(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path / "s3").start()
    endpoint = emulator.endpoint
    bucket = Bucket(emulator, "lasting")
    bucket.client().create_bucket(Bucket="lasting")
    bucket.put("a", b"1")
    bucket.client("sqs").create_queue(QueueName="events")
    emulator.stop()
    emulator.start()
    assert [url.rpartition("/")[2] for url in bucket.client("sqs").list_queues()["QueueUrls"]] == ["events"]
    emulator.kill()
    emulator.start()
    assert bucket.get("a") == b"1"
    assert emulator.endpoint == endpoint
    emulator.reset()
    assert bucket.client().list_buckets()["Buckets"] == []
    emulator.stop()
    emulator.stop()  # a second time is fine
    assert refuses(int(endpoint.rpartition(":")[2]))


def test_a_stack_of_cloudformation_is_really_made(s3: Bucket) -> None:
    template = '{"Resources": {"Inbox": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "from-a-stack"}}}}'
    s3.client("cloudformation").create_stack(StackName="inbox", TemplateBody=template)
    assert "from-a-stack" in [bucket["Name"] for bucket in s3.client().list_buckets()["Buckets"]]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ToolError, match=f"^ministack does not start on http://127.0.0.1:{port}: "):
            Emulator(tmp_path, port=port).start()


def test_the_command_prints_the_variables_and_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.local.s3", "--data", str(tmp_path)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as stdout:
        lines = [stdout.readline().split() for _ in range(6)]
    assert {words[0] for words in lines} == {"export"}
    variables = dict(words[1].split("=", 1) for words in lines)
    client(variables, "s3").create_bucket(Bucket="by-hand")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert refuses(int(variables["AWS_ENDPOINT_URL"].rpartition(":")[2]))


ORPHAN = """
import sys
from pathlib import Path
from infra.local.s3 import Emulator
print(Emulator(Path(sys.argv[1])).start().pid, flush=True)
sys.stdin.read()
"""


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while _is_alive(pid) and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_tool_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = tmp_path / "tools.toml"
    pins.write_text('[none]\nversion = "1.0"\nrequirement = "ministack"\n')
    monkeypatch.setattr(tool_environments, "CACHE", tmp_path / "tools")
    monkeypatch.setattr(tool_environments, "PINS", pins)
    with pytest.raises(ToolError, match=r"^cannot install ministack==1.0; check the package index and try again: "):
        tool_python("none")
    assert not (tmp_path / "tools" / "none-1.0").exists()


def test_two_who_want_the_same_tool_install_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = tmp_path / "tools.toml"
    pins.write_text('[tiny]\nversion = "1.17.0"\nrequirement = "six"\n')
    monkeypatch.setattr(tool_environments, "CACHE", tmp_path / "tools")
    monkeypatch.setattr(tool_environments, "PINS", pins)
    (tmp_path / "tools" / "tiny.building" / "half").mkdir(parents=True)  # left by one that was killed
    with ThreadPoolExecutor(3) as pool:
        pythons = set(pool.map(tool_python, ["tiny"] * 3))
    assert pythons == {tmp_path / "tools" / "tiny-1.17.0" / "bin" / "python"}
    subprocess.run([*pythons, "-c", "import six"], check=True)
    assert sorted(os.listdir(tmp_path / "tools")) == ["tiny-1.17.0", "tiny.lock"]
    made_at = (tmp_path / "tools" / "tiny-1.17.0").stat().st_mtime_ns
    assert tool_python("tiny") in pythons
    assert (tmp_path / "tools" / "tiny-1.17.0").stat().st_mtime_ns == made_at


def test_a_proxy_without_faults_changes_nothing(s3: Bucket, tmp_path: Path) -> None:
    with FaultProxy(tmp_path, s3.server.endpoint, Faults()) as proxy:
        body = os.urandom(3_000_000)
        through = client(s3.server.client_variables() | {"AWS_ENDPOINT_URL": proxy.endpoint}, "s3")
        through.put_object(Bucket=s3.name, Key="a b+%?", Body=body)
        assert through.get_object(Bucket=s3.name, Key="a b+%?")["Body"].read() == body == s3.get("a b+%?")
        assert proxy.disturbances() == []
