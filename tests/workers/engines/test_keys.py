"""Keys stay where they are used: engines, Ray, Prefect's server and the simulation do not inherit them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import flows.submit
from flows.drop_folder.starters import StartHere
from flows.escalation.simulation import running_service
from flows.quiet import QUIET
from flows.run import Run
from pipelines.errors import ProviderError
from pipelines.job.job import Job
from pipelines.settings import keys_not_for_engines, settings, trust_remote_code, withhold_claude_key
from tests.flows.drop_folder.drop_folder_case import JOB
from workers.engines import own_ray, pool, scorer
from workers.engines.adapters import Adapter
from workers.engines.fitting.machines import Machine
from workers.engines.scorer import ScorerConfig
from workers.engines.tokens import TokenFrame

CANARY = "sk-canary"
ALWAYS = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_AWS_API_KEY",
    "AWS_BEARER_TOKEN_BEDROCK",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
]
AWS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [*ALWAYS, *AWS]:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("HF_TOKEN", "for the weights")
    monkeypatch.delenv("SLUICE_TRUST_REMOTE_CODE", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def config(root: str, weights: str = "/models/m") -> ScorerConfig:
    return ScorerConfig(root, weights, "r", {}, {"FOR_VLLM": "1"}, cast(TokenFrame, None), 1)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What code that the engine runs would find."""
    found: list[dict[str, str]] = []
    monkeypatch.setattr(scorer, "LabelEngine", lambda *_: found.append(dict(os.environ)))
    monkeypatch.setattr(scorer, "Store", lambda root: None)
    monkeypatch.setenv("FOR_VLLM", "0")
    return found


def test_an_engine_finds_no_key(seen: list[dict[str, str]], tmp_path: Path) -> None:
    scorer.Scorer(config(str(tmp_path)))
    assert CANARY not in seen[0].values()
    assert (seen[0]["HF_TOKEN"], seen[0]["FOR_VLLM"]) == ("for the weights", "1")


def test_an_engine_whose_adapter_lies_on_s3_keeps_what_opens_it() -> None:
    adapter = Adapter("s3://b/adapter", "lora-0", Path("/nowhere"), 8)
    assert keys_not_for_engines(replace(config("/r"), adapter=adapter).places).isdisjoint(AWS)
    assert keys_not_for_engines(config("/r").places) >= set(AWS)


@pytest.mark.parametrize(("root", "weights"), [("s3://b/r", "/m"), ("/r", "s3://b/m")])
def test_an_engine_that_works_on_s3_keeps_what_opens_it(seen: list[dict[str, str]], root: str, weights: str) -> None:
    scorer.Scorer(config(root, weights))
    assert {name for name, value in seen[0].items() if value == CANARY} == set(AWS)


class _Actors:
    """Stands for the actor class; remembers what actors are asked for."""

    def __init__(self) -> None:
        self.options_given: list[Mapping[str, Any]] = []

    def options(self, **options: Any) -> _Actors:
        self.options_given.append(options)
        return self

    def remote(self, _: ScorerConfig) -> object:
        return object()


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> _Actors:
    found = _Actors()
    monkeypatch.setattr(pool, "_scorer_actor", lambda: found)
    monkeypatch.setattr(pool, "_cluster_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(pool, "cluster_machines", lambda **_: [Machine("node", 1, None)])
    return found


def test_a_scorers_process_is_started_without_them(actors: _Actors, tmp_path: Path) -> None:
    pool.EnginePool(config(str(tmp_path)), 1)
    assert actors.options_given[0]["runtime_env"]["env_vars"] == dict.fromkeys([*ALWAYS, *AWS], "")


def test_on_a_cluster_keys_of_its_machines_are_hidden(actors: _Actors, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*ALWAYS, *AWS]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    settings.cache_clear()
    pool.EnginePool(config("s3://b/r"), 1)
    assert set(actors.options_given[0]["runtime_env"]["env_vars"]) >= {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}


def test_without_keys_nothing_is_asked_for(actors: _Actors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A runtime environment costs each engine two seconds."""
    for name in QUIET:
        monkeypatch.setenv(name, "0")
    for name in [*ALWAYS, *AWS]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings.cache_clear()
    pool.EnginePool(config(str(tmp_path)), 1)
    assert "runtime_env" not in actors.options_given[0]


def test_ray_is_started_without_claudes_key(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str | None] = []
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **_: found.append(os.environ.get("ANTHROPIC_API_KEY")))
    own_ray.start_ray(None)
    assert found == [None]
    assert settings().anthropic_api_key and settings().anthropic_api_key.get_secret_value() == CANARY


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, []),
        ({"escalation": {"model": "m"}}, []),
        ({"escalation": {"model": "m", "provider": "bedrock"}}, AWS),
        ({"escalation": {"model": "m", "provider": "aws"}}, AWS),
        ({"output": "s3://results/"}, AWS),
        ({"input": "s3://documents/"}, AWS),
        ({"model": {"source": "s3://models/m"}, "quality": "off", "escalation": "off"}, AWS),
    ],
)
def test_ray_and_prefects_server_are_started_without_keys_that_the_run_does_not_need(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], kept: list[str]
) -> None:
    """They inherit the environment of the process in which the flow is called."""
    found: list[dict[str, str]] = []

    class Opened:
        class store:
            root = "/r"

        run_id, questions, record = "run_a", (), SimpleNamespace(asked_in=None)
        job = Job.model_validate(JOB | {"input": "/i", "output": "/o"} | changes)

    monkeypatch.setattr("flows.stages.publishing.read_summary", lambda run: None)
    monkeypatch.setattr("flows.stages.scoring.start_engines_if_needed", lambda run: found.append(dict(os.environ)))
    monkeypatch.setattr("flows.process.process", lambda *_, **__: found.append(dict(os.environ)))
    monkeypatch.setattr("flows.stages.review.read_review", lambda store: None)

    @contextmanager
    def server_at_hand(progress: object) -> Iterator[None]:
        found.append(dict(os.environ))
        yield

    monkeypatch.setattr("flows.prefect_server.prefect_at_hand", server_at_hand)
    quiet = SimpleNamespace(say=lambda line: None)
    flows.submit.process_run(cast(Run, Opened()), None, True, cast(Any, quiet))
    assert len(found) == 3
    for environment in found:
        assert "ANTHROPIC_API_KEY" not in environment
        assert [name for name in AWS if name in environment] == kept


def test_the_simulation_is_started_without_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found: list[Mapping[str, str]] = []

    def start(command: list[str], env: Mapping[str, str], **_: Any) -> None:
        found.append(env)
        raise ProviderError("not here")

    monkeypatch.setattr("flows.escalation.simulation.subprocess.Popen", start)
    with pytest.raises(ProviderError), running_service(tmp_path, tmp_path / "key", 0.0):
        pass
    assert found and CANARY not in found[0].values()


def test_the_process_that_does_a_dropped_files_run_has_claudes_key(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Mapping[str, str]] = []

    def begin(command: list[str], env: Mapping[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        found.append(env)
        return subprocess.CompletedProcess(command, 0, "", "")

    class Opened:
        class store:
            root = "/r"

        class job:
            provider = None

        run_id = "run_a"

    withhold_claude_key()
    monkeypatch.setattr("flows.drop_folder.starters.wait_for_sole_process", lambda root: None)
    monkeypatch.setattr("flows.drop_folder.starters.subprocess.run", begin)
    StartHere().start(cast(Run, Opened()), "claim")
    assert found[0]["ANTHROPIC_API_KEY"] == CANARY


def test_the_word_of_the_owner_does_not_lose_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_TRUST_REMOTE_CODE", "0")
    settings()
    withhold_claude_key()
    trust_remote_code()
    assert settings().trust_remote_code
    assert settings().anthropic_api_key and settings().anthropic_api_key.get_secret_value() == CANARY
