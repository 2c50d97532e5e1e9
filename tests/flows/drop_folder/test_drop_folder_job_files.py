"""Job files in a drop folder: off unless asked for, and then no more than the listener's owner would do himself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from flows.drop_folder.files import FileClaim
from flows.drop_folder.inbox import Inbox
from flows.drop_folder.job_rules import JobFileOptions, JobRules
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from pipelines.settings import settings
from tests.flows.drop_folder.drop_folder_case import DOCUMENT, JOB, Case, job_text, local_case, s3_case, write_job

STARTER = str(Path(__file__).resolve().parents[3] / "sample_data" / "starter_model")
ENGINE: dict[str, Any] = {"source": STARTER, "engine": {"max_model_len": 512}}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(params=["local", "s3"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return local_case(tmp_path) if request.param == "local" else s3_case(request.getfixturevalue("s3"), tmp_path)


def drop(case: Case, **changes: Any) -> list[str]:
    """What is told of a file whose job file asks for this; nothing, if its run is started."""
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    case.put(f"{case.prefix}a.job.yaml", job_text(changes.pop("output", case.output), **changes).encode())
    case.take("a.jsonl")
    if case.starter.started:
        return []
    where = f"{case.location.rstrip('/')}/a.job.yaml: "
    problems = case.report("rejected", "a.jsonl")["problems"]
    assert all(problem.startswith(where) for problem in problems)
    return [problem.removeprefix(where) for problem in problems]


def test_unless_asked_for_a_job_file_is_left_alone_and_its_sender_is_told(case: Case) -> None:
    case.bounds = None
    case.put(f"{case.prefix}folder.job.yaml", b"name: [")
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    case.take("a.jsonl")
    status = case.report("status", "a.jsonl")
    assert status["job_file"] == str(case.job)
    job_file = f"{case.location.rstrip('/')}/folder.job.yaml"
    assert status["ignored"] == f"{job_file}: this listener does no job files of its folder; it would with --job-files"
    assert case.lines[0].endswith("; the job file beside it is ignored")


def test_a_model_of_ones_own_must_be_on_the_list(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    [problem] = drop(case, model=ENGINE, quality={"raw_threshold": 0.9})
    assert problem.startswith(f"model.source: '{STARTER}' is not allowed in a job file beside dropped files; name a ")
    case.bounds = JobFileOptions(models=frozenset({STARTER}))
    assert drop(case, model=ENGINE, quality={"raw_threshold": 0.9}) == []


def test_a_listed_source_is_not_another_revision_of_it(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    case.bounds = JobFileOptions(models=frozenset({STARTER}))
    [problem] = drop(case, model=ENGINE | {"revision": "refs/pr/1"}, quality={"raw_threshold": 0.9})
    assert problem.startswith(f"model.source: '{STARTER}@refs/pr/1' is not allowed")


@pytest.mark.parametrize(
    "argument",
    [
        "trust_remote_code",
        "worker_cls",
        "worker_extension_cls",
        "scheduler_cls",
        "logits_processors",
        "reasoning_parser_plugin",
        "kv_transfer_config",
        "compilation_config",
        "speculative_config",
        "tokenizer",
        "hf_overrides",
        "download_dir",
        "load_format",
        "log_config_file",
        "an_argument_of_tomorrow",
    ],
)
def test_only_listed_engine_arguments_may_be_given(tmp_path: Path, argument: str) -> None:
    case = local_case(tmp_path)
    case.bounds = JobFileOptions(models=frozenset({STARTER}))
    model = {"source": STARTER, "engine": {"max_model_len": 512, argument: True}}
    [problem] = drop(case, model=model, quality={"raw_threshold": 0.9})
    assert problem.startswith(f"model.engine.{argument}: is not allowed in a job file beside dropped files; these are")


def test_results_go_below_the_default_jobs_or_where_the_command_says(case: Case) -> None:
    beside = f"{case.output}-of-mine"
    up = f"{case.output}/x/../../elsewhere"
    for output in (beside, up):
        [problem] = drop(case, output=output)
        assert problem.startswith(f"output: '{output}' does not lie below '{case.output}', as it must in a job file")
    assert drop(case, output=case.output) == []


def test_a_link_below_the_output_leads_nowhere_else(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results" / "link").symlink_to(tmp_path / "elsewhere")
    [problem] = drop(case, output=f"{case.output}/link")
    assert "does not lie below" in problem


def test_another_place_can_be_allowed(case: Case, tmp_path: Path) -> None:
    others = f"{case.output}-of-others"
    case.bounds = JobFileOptions(outputs_below=others)
    assert drop(case, output=others) == []


RULES = JobRules(Job.model_validate(JOB | {"output": "s3://results/a", "budget_usd": 5, "compute": {"engines": 2}}))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"budget_usd": 500}, "budget_usd: is 500; the listener's default job allows 5 for each file"),
        ({"budget_usd": None}, "budget_usd: is missing; the listener's default job allows 5 for each file"),
        (
            {"escalation": {"model": "claude-haiku-5-5"}},
            "escalation.provider: 'anthropic', where the listener's default job asks 'simulation'; use that",
        ),
        ({"compute": {"engines": 200}}, "compute.engines: is 200; the listener's default job allows 2"),
        (
            {"limits": {"max_document_bytes": 10**9}},
            "limits.max_document_bytes: is 1,000,000,000; the listener's default job allows 1,000,000",
        ),
        (
            {"evaluation": {"gold_file": "/etc/passwd"}},
            "evaluation.gold_file: only the listener's default job may name a file of its machine; give gold_column, "
            "or leave evaluation out",
        ),
        (
            {"evaluation": {"gold_file": "s3://others/secret.csv"}},
            "evaluation.gold_file: only the listener's default job may name a file of its machine; give gold_column, "
            "or leave evaluation out",
        ),
        (
            {"adapt": {"every": "1d"}, "model": "starter", "quality": {"target": 0.9}},
            "adapt: is not allowed in a job file beside dropped files, which start no training; leave it out",
        ),
        ({"output": "s3://results/ab"}, "output: 's3://results/ab' does not lie below 's3://results/a', as it must"),
        ({"output": "s3://results/a/../b"}, "output: 's3://results/a/../b' does not lie below 's3://results/a'"),
        ({"output": "/tmp"}, "output: '/tmp' does not lie below 's3://results/a'"),
    ],
)
def test_no_more_than_the_default_job(changes: dict[str, Any], problem: str) -> None:
    asked = JOB | {"output": "s3://results/a/b", "budget_usd": 5} | changes
    [told] = RULES.problems(Job.model_validate(asked))
    assert told.startswith(problem)


def test_as_much_as_the_default_job_is_fine() -> None:
    asked = JOB | {"output": "s3://results/a/", "budget_usd": 5, "compute": {"engines": 2}}
    assert RULES.problems(Job.model_validate(asked)) == []
    assert RULES.problems(Job.model_validate(asked | {"budget_usd": "4.99", "labels": {"x": None, "y": None}})) == []


def test_where_the_default_job_asks_nobody_no_job_file_spends() -> None:
    default = JOB | {"output": "/o", "model": "starter", "quality": "off", "escalation": "off"}
    asked = Job.model_validate(JOB | {"output": "/o", "escalation": {"model": "claude-haiku-5-5"}})
    [told] = JobRules(Job.model_validate(default)).problems(asked)
    assert told == "escalation.provider: 'anthropic', where the listener's default job asks nobody; use that"


def test_what_a_job_file_names_is_not_read_here_and_not_quoted(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("id,label\n1,hunter2\n")
    case = local_case(tmp_path)
    [problem] = drop(case, evaluation={"gold_file": str(secret)})
    assert problem.startswith("evaluation.gold_file: only the listener's default job may name a file of its machine")
    assert "hunter2" not in case.get("rejected/a.jsonl.rejected.json").decode()


def test_a_claim_that_a_dropper_wrote_is_bounded_like_a_job_file(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    case.bounds = None
    case.put("a.jsonl", DOCUMENT)
    inbox = Inbox(case.location)
    file = inbox.look("a.jsonl")
    assert file is not None
    mine = load_job(write_job(tmp_path / "mine.yaml", str(tmp_path / "elsewhere")), {"input": file.uri})
    forged = FileClaim.on(file, mine, str(case.job)).model_copy(update={"run_id": "../../x"})
    inbox.make_claim(file, forged)
    case.take("a.jsonl")
    report = case.report("rejected", "a.jsonl")
    assert "does not lie below" in report["problems"][0]
    assert report["next"].endswith(f"to have it taken with another job, delete '{inbox.claim_uri(file)}' first")
    assert not (tmp_path / "elsewhere").exists() and case.starter.started == []


def test_a_claim_whose_run_would_lie_elsewhere_is_refused(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    case.put("a.jsonl", DOCUMENT)
    inbox = Inbox(case.location)
    file = inbox.look("a.jsonl")
    assert file is not None
    job = load_job(case.job, {"input": file.uri})
    inbox.make_claim(file, FileClaim.on(file, job, "job.yaml").model_copy(update={"run_id": "../../x"}))
    case.take("a.jsonl")
    assert case.report("rejected", "a.jsonl")["problems"][0].startswith("run id '../../x': give at most 128 letters")
    assert not (tmp_path.parent / "x").exists()


def test_what_goes_with_job_files_is_refused_without_them(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", str(tmp_path / "results"))
    ran = CliRunner().invoke(app, ["listen", str(tmp_path), "--job", str(job), "--outputs-below", "/"])
    assert ran.exit_code == 2 and "goes with --job-files" in ran.output


def test_the_command_hands_its_bounds_to_the_listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("flows.drop_folder.listener.listen_to", lambda *arguments: asked.append(arguments[-1]))
    terminal = SimpleNamespace(progress=SimpleNamespace(say=print))
    monkeypatch.setattr("flows.console.terminal.Terminal", lambda as_json: nullcontext(terminal))
    listen = ["listen", str(tmp_path), "--job", "job.yaml"]
    for options in ([], ["--job-files"], ["--job-files", "--allow-model", "a/b@1", "--outputs-below", "/x"]):
        assert CliRunner().invoke(app, [*listen, *options]).exit_code == 0
    assert asked == [None, JobFileOptions(), JobFileOptions(frozenset({"a/b@1"}), "/x")]


def review_case(tmp_path: Path, **review: Any) -> Case:
    case = local_case(tmp_path)
    job = {name: value for name, value in JOB.items() if name not in ("labels", "evaluation")}
    job |= {"task": "code_review", "output": case.output, "escalation": {"model": "m", "provider": "simulation"}}
    faults = tmp_path / "faults.csv"
    faults.write_text("path,line,category\nprice.py,1,sql-injection\n")
    job |= {"evaluation": {"faults_file": str(faults)}, "review": review or None}
    case.job.write_text(yaml.safe_dump({name: value for name, value in job.items() if value is not None}))
    return case


@pytest.mark.parametrize("name", ["a.diff", "a.patch", "a.patch.gz", "a.mbox", "a.jsonl"])
def test_diffs_can_be_dropped_where_the_job_is_a_review(tmp_path: Path, name: str) -> None:
    case = review_case(tmp_path)
    case.put(name, b"--- a/price.py\n+++ b/price.py\n@@ -1 +1 @@\n-a = 1\n+a = 2\n")
    case.take(name)
    assert [run.job.task for run in case.starter.runs] == ["code_review"]


def test_a_file_of_the_other_task_is_told_so(tmp_path: Path) -> None:
    case = local_case(tmp_path)
    case.put("a.diff", b"x")
    case.take("a.diff")
    [problem] = case.report("rejected", "a.diff")["problems"]
    assert "a.diff is for a code review, and its job is a classification; supported: .jsonl" in problem


def test_a_text_is_not_for_a_review(tmp_path: Path) -> None:
    case = review_case(tmp_path)
    case.put("a.txt", b"x")
    case.take("a.txt")
    [problem] = case.report("rejected", "a.txt")["problems"]
    assert "is of a type that cannot be read; supported: .diff, .patch, .mbox, .jsonl" in problem


@pytest.mark.parametrize("review", [{"revisions": "main"}, {"tree": True}, {"tree": True, "revision": "main"}])
def test_a_dropped_file_is_never_taken_for_a_repository(tmp_path: Path, review: dict[str, Any]) -> None:
    case = review_case(tmp_path, **review)
    with pytest.raises(Exception, match="review: a dropped file holds diffs; leave revisions, tree and revision out"):
        case.reception()


def test_nor_is_it_where_its_own_job_file_says_so(tmp_path: Path) -> None:
    case = review_case(tmp_path)
    own = yaml.safe_load(case.job.read_text()) | {"review": {"tree": True}}
    case.put("a.job.yaml", yaml.safe_dump(own).encode())
    case.put("a.diff", b"--- a/price.py\n+++ b/price.py\n@@ -1 +1 @@\n-a = 1\n+a = 2\n")
    case.take("a.diff")
    [problem] = case.report("rejected", "a.diff")["problems"]
    assert problem.endswith("a.job.yaml: review: a dropped file holds diffs; leave revisions, tree and revision out")
    assert case.starter.started == []
