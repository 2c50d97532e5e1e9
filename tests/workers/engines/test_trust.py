"""Code that is not the engine's own runs on the word of the machine's owner, and of nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.preflight.surroundings import check_surroundings
from flows.run import Run
from flows.service.deploy import Deployed
from flows.stages import scoring
from pipelines.errors import JobError
from pipelines.job.engine_arguments import code_arguments
from pipelines.job.job import Job
from pipelines.job.sections import ModelSource
from pipelines.settings import settings
from workers.engines.catalogue import refuse_code, resolve_model

WORD = "if you trust it, say so where it runs: --trust-remote-code, or SLUICE_TRUST_REMOTE_CODE=1 for a worker"


@pytest.fixture(autouse=True)
def nobody_has_said_so(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_TRUST_REMOTE_CODE", "0")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(
    "arguments",
    [
        {"trust_remote_code": True},
        {"trust_remote_code": "yes"},
        {"worker_cls": "mine.Worker"},
        {"worker_extension_cls": "mine.Worker"},
        {"scheduler_cls": "mine.Scheduler"},
        {"logits_processors": ["mine:Processor"]},
        {"reasoning_parser_plugin": "/tmp/mine.py"},
        {"distributed_executor_backend": "mine.Executor"},
        {"mm_processor_kwargs": {"trust_remote_code": True}},
        {"speculative_config": [{"trust_remote_code": True}]},
        {"kv_transfer_config": {"kv_connector_module_path": "mine"}},
    ],
)
def test_engine_arguments_that_run_code_are_known(arguments: dict[str, Any]) -> None:
    assert code_arguments(arguments) == list(arguments)
    with pytest.raises(JobError) as caught:
        refuse_code(ModelSource(source="a/b", engine=arguments))
    assert caught.value.problems[0].startswith(f"model.engine.{next(iter(arguments))}: has the engine run code")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"trust_remote_code": False},
        {"max_model_len": 8, "distributed_executor_backend": "mp"},
        {"compilation_config": {"mode": 3}, "hf_overrides": {"rope_theta": 1}},
    ],
)
def test_others_need_no_word(arguments: dict[str, Any]) -> None:
    refuse_code(ModelSource(source="a/b", engine=arguments))


def trusting_job(tmp_path: Path) -> Job:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    return Job.model_validate(
        {
            "name": "tickets",
            "task": "classification",
            "input": str(tmp_path / "a.jsonl"),
            "output": str(tmp_path),
            "model": {"source": "a/b", "engine": {"trust_remote_code": True}},
            "labels": {"billing": None, "outage": None},
            "quality": "off",
            "escalation": "off",
        }
    )


def test_a_job_that_would_run_code_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobError) as caught:
        check_surroundings(trusting_job(tmp_path))
    assert caught.value.problems == [
        "model.engine.trust_remote_code: has the engine run code that is not vLLM's, with all that this user may do; "
        + WORD
    ]
    monkeypatch.setenv("SLUICE_TRUST_REMOTE_CODE", "1")
    settings.cache_clear()
    assert check_surroundings(trusting_job(tmp_path))


def test_a_run_that_was_begun_elsewhere_starts_no_such_engine_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its store may be anyone's: `resume` and Prefect's workers come here."""
    monkeypatch.setattr(scoring, "start_ray", lambda address: pytest.fail("Ray was started"))

    class Opened:
        job = trusting_job(tmp_path)

    with pytest.raises(JobError, match="trust_remote_code: has the engine run code"):
        scoring.start_engines(cast(Run, Opened()))


def test_looking_at_such_a_run_needs_no_word() -> None:
    """Whoever cancels it, or collects its answers, starts no engine."""
    starter = str(Path(__file__).resolve().parents[3] / "sample_data" / "starter_model")
    assert resolve_model(ModelSource(source=starter, engine={"trust_remote_code": True})).files


@pytest.mark.parametrize("command", ["submit", "resume", "estimate", "calibrate", "listen", "deploy"])
def test_every_command_that_may_start_engines_takes_the_word(command: str) -> None:
    assert "--trust-remote-code" in CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output


def test_the_word_goes_with_the_worker_that_deploy_names() -> None:
    plain = Deployed("tickets", "sluice", None, (), None, None)
    trusting = Deployed("tickets", "sluice", None, (), None, None, needs_trust=True)
    assert plain.worker_command == "prefect worker start --pool sluice"
    assert trusting.worker_command == "SLUICE_TRUST_REMOTE_CODE=1 prefect worker start --pool sluice"
