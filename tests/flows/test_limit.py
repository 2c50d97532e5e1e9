"""`--limit`, `--target`, `--budget` and `--model` stand in place of the job's fields, and make a run of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flows.estimate
import flows.submit
from flows.cli import options
from flows.run import open_run
from flows.series import Series
from flows.stages import planning
from flows.submit import begin_job
from pipelines.documents.left_out import first_documents
from pipelines.documents.records import Document, LeftOut
from pipelines.errors import JobError
from pipelines.job.job_file import load_job
from pipelines.job.sections import Quality
from pipelines.settings import settings
from tests.faults.escalation_case import quiet
from tests.flows.command_case import Command, command
from tests.job.job_case import CLAUDE, GOOD

__all__ = ["command"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    Path("job.yaml").write_text(GOOD)
    Path("inbox").mkdir()
    rows = [{"id": str(n), "text": f"document {n}"} for n in range(20)]
    Path("inbox/docs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    yield
    settings.cache_clear()


def quality_of(text: str, **asked: Any) -> Quality:
    Path("job.yaml").write_text(text)
    job = load_job(
        "job.yaml",
        options.asked(**{"limit": None, "target": None, "budget": None, "model": None, "adapter": None} | asked),
    )
    assert isinstance(job.quality, Quality)
    return job.quality


@pytest.mark.parametrize("quality", ["quality: {raw_threshold: 0.9}", "quality: {target: 0.8}", "", "quality: off"])
def test_a_target_takes_the_place_of_whatever_quality_the_job_has(quality: str) -> None:
    text = GOOD.replace("quality: {raw_threshold: 0.9}", quality).replace("escalation: off", CLAUDE)
    asked = quality_of(text, target=0.95)
    assert (asked.target, asked.raw_threshold) == (0.95, None)


def test_the_rest_of_a_jobs_quality_stays() -> None:
    text = GOOD.replace("{raw_threshold: 0.9}", "{target: 0.8, assurance: 0.99}").replace("escalation: off", CLAUDE)
    assert quality_of(text, target=0.95).assurance == 0.99


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"target": 0.9}, "a target is kept by asking Claude: set escalation"),
        ({"target": 1.5}, "less than or equal to 1"),
        ({"budget": "lots"}, "budget_usd: input should be a valid decimal"),
        ({"budget": "-1"}, "budget_usd: input should be greater than or equal to 0"),
    ],
)
def test_what_is_asked_is_checked_as_if_the_job_said_so(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(JobError) as refused:
        quality_of(GOOD, **asked)
    assert any(words in problem for problem in refused.value.problems), refused.value.problems


def test_nothing_beyond_the_last_document_is_read() -> None:
    def found() -> Iterator[Document | LeftOut]:
        yield LeftOut("a", "b", "hidden", "")
        yield Document("1", "a", 1, "text")
        yield LeftOut("a", "c", "hidden", "")
        yield Document("2", "a", 2, None, failure="is blank")
        raise AssertionError("one more is asked for")

    kinds = [type(each) for each in first_documents(found(), 2)]
    assert kinds == [LeftOut, Document, LeftOut, Document]


def test_without_a_limit_a_job_is_written_down_as_before_there_was_one() -> None:
    assert load_job("job.yaml").model_dump()["limits"] == {"max_document_bytes": 1_000_000}
    assert load_job("job.yaml", {"limits.documents": 5}).limits.documents == 5


def test_a_series_reads_whole_files() -> None:
    with pytest.raises(JobError, match=r"limits\.documents: a series reads every document"):
        Series(load_job("job.yaml", {"limits.documents": 5}))


@pytest.mark.parametrize("name", ["submit", "estimate"])
def test_the_options_reach_the_job(name: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def note(path: Path, overrides: dict[str, Any], *_: object) -> None:
        given.append(overrides)
        raise JobError(["enough"])

    monkeypatch.setattr(flows.submit, "submit_job", note)
    monkeypatch.setattr(flows.estimate, "estimate_job", note)
    monkeypatch.setattr("flows.console.terminal.Terminal._redirect", lambda self: None)
    options = ["--limit", "5", "--target", "0.9", "--budget", "2.50", "--model", "starter"]
    assert command(name, "job.yaml", *options).code == 2
    asked = {"limits.documents": 5, "quality.target": 0.9, "quality.raw_threshold": None, "model": "starter"}
    assert given == [asked | {"budget_usd": "2.50"}]
    assert command(name, "job.yaml", "--limit", "0").code == 2
    assert len(given) == 1


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore")  # transformers warns about itself
def test_a_limited_run_is_another_run_and_stays_limited() -> None:
    whole = begin_job(Path("job.yaml"), {}, None, print)
    limited = begin_job(Path("job.yaml"), {"limits.documents": 5}, None, print)
    assert whole.run_id != limited.run_id
    assert begin_job(Path("job.yaml"), {"limits.documents": 5}, None, print).run_id == limited.run_id
    assert planning.plan_documents(open_run(limited.run_id), quiet()).items == 5
    assert planning.plan_documents(whole, quiet()).items == 20


def test_a_sample_is_asked_about_only_where_there_is_one(command: Command) -> None:
    refused = command("estimate", "job.yaml", "--ask")
    assert refused.code == 2
    assert "goes with --sample" in refused.err


def test_a_job_without_an_engine_has_nothing_to_sample(command: Command) -> None:
    Path("job.yaml").write_text(
        GOOD.replace("quality: {raw_threshold: 0.9}", "")
        .replace("model: starter", "model: false")
        .replace("escalation: off", CLAUDE)
    )
    refused = command("estimate", "job.yaml", "--sample", "5")
    assert refused.code == 2
    assert "there is nothing to sample" in refused.err


def test_a_first_tier_over_http_is_not_sampled_and_not_asked(command: Command) -> None:
    endpoint = "model: {endpoint: 'http://127.0.0.1:9', name: stand-in, where: own}"
    Path("job.yaml").write_text(GOOD.replace("model: starter", endpoint))
    refused = command("estimate", "job.yaml", "--sample", "5")
    assert refused.code == 2
    assert "`pipeline submit job.yaml --limit 5` asks it" in " ".join(refused.err.split())


def test_nobody_can_be_asked_where_escalation_is_off(command: Command) -> None:
    refused = command("estimate", "job.yaml", "--sample", "5", "--ask")
    assert (refused.code, "leave out --ask" in refused.err) == (2, True)
