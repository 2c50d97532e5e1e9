"""What a server gives of a label's probability is found out before a run begins, and what will not do is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from infra.local.first_tier.service import Fault, FaultKind, Shape
from pipelines.errors import EngineError, JobError
from pipelines.tasks.classification import Label
from tests.workers.endpoint.asked import probed, service_of

PRICE = {"input": "0.10", "output": "0.40", "cache_read": "0.01"}


@pytest.mark.parametrize(
    ("shape", "api", "way"),
    [
        ("ollama", "ollama", "ollama"),
        ("ollama", None, "ollama"),
        ("openai", "openai", "top_logprobs"),
        ("openai", None, "top_logprobs"),
        ("systemone", "systemone", "systemone"),
        ("systemone", None, "systemone"),
        ("systemone-shares", None, "systemone"),
    ],
)
def test_the_way_that_gives_probabilities_is_found(shape: Shape, api: str | None, way: str) -> None:
    assert probed(service_of(shape), api=api).way == way


def test_what_the_server_is_goes_into_the_record() -> None:
    served = probed(service_of("openai"), price=PRICE)
    assert (served.model, served.fingerprint, served.codes) == ("stand-in", "fp_stand_in", ("A", "B", "C"))
    assert (served.calls, served.told_tokens, served.most_difference) == (3, 20, 0.0)
    assert served.decimals > 2 and served.tells_mass
    assert served.input_tokens and served.cost_usd and served.cost_usd < Decimal("0.0001")


def test_ollamas_version_and_the_digest_of_the_model_are_recorded() -> None:
    served = probed(service_of("ollama"))
    assert (served.server, served.fingerprint) == ("ollama 0.12.11", "sha256:57a1d11")


def test_another_day_is_another_identity_of_a_hosted_server_and_of_ones_own_it_is_none() -> None:
    own = probed(service_of("openai"))
    hosted = probed(service_of("openai"), where="hosted")
    later = {"probed_on": date(2026, 11, 28)}
    assert own.model_copy(update=later).revision == own.revision
    assert hosted.model_copy(update=later).revision != hosted.revision
    assert "2026-11-27" in hosted.revision


@pytest.mark.parametrize(
    "change", [{"model": "newer"}, {"fingerprint": "fp_2"}, {"server": "x"}, {"endpoint": "http://b"}]
)
def test_another_model_or_server_is_another_identity(change: dict[str, str]) -> None:
    served = probed(service_of("openai"))
    assert served.model_copy(update=change).revision != served.revision


@pytest.mark.parametrize(
    ("shape", "kind", "told"),
    [
        ("ollama", "no_logprobs", "/api/chat: the answer holds no log-probabilities"),
        ("openai", "no_logprobs", "/v1/chat/completions: the answer holds no log-probabilities"),
        ("systemone", "no_logprobs", "/v1/systemone: the answer holds no probabilities"),
        ("ollama", "round", "it rounds probabilities to 2 decimals"),
        ("openai", "round", "it rounds probabilities to 2 decimals"),
        ("systemone", "round", "it rounds probabilities to 2 decimals"),
        ("openai", "no_code", "none of the labels' codes is among the 16 likeliest tokens"),
        ("systemone", "no_code", "it hardly ever means a label"),
        ("openai", "nonsense", "the answer is no JSON object"),
    ],
)
def test_a_server_that_gives_nothing_to_go_by_is_refused_with_the_cure(
    shape: Shape, kind: FaultKind, told: str
) -> None:
    service = service_of(shape)
    service.faults = [Fault(kind)]
    with pytest.raises(JobError) as refused:
        probed(service)
    (problem,) = refused.value.problems
    assert told in problem
    assert "http://localhost:8000" in problem and "vllm serve" in problem


def test_a_wrong_model_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(JobError, match=r"model.name: \S+ has no model 'stand-out'; it has 'stand-in'"):
        probed(service_of("openai"), name="stand-out")


def test_a_server_that_lists_no_models_tells_of_a_wrong_name_itself() -> None:
    with pytest.raises(JobError, match="The model 'stand-out' does not exist"):
        probed(service_of("systemone-shares"), name="stand-out", api="systemone")


def test_more_labels_than_the_server_tells_of_are_refused() -> None:
    many = tuple(Label("", f"label {number}", None) for number in range(27))
    with pytest.raises(JobError, match=r"tells of at most 26 labels, the job has 27.*at most 20 labels"):
        probed(service_of("openai"), many)
    few = tuple(Label("", f"label {number}", None) for number in range(8))
    with pytest.raises(JobError, match="the answer tells of 5 tokens, for 8 labels"):
        probed(service_of("openai", top_tokens=5), few)


@pytest.mark.parametrize("shape", ["openai", "systemone"])
def test_a_refused_key_is_told_by_the_name_of_its_variable(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIER_KEY", "sk-wrong")
    with pytest.raises(EngineError, match="refuses the key in TIER_KEY: HTTP 401") as refused:
        probed(service_of(shape, key="sk-right"), key_env="TIER_KEY")
    assert "sk-" not in str(refused.value)
    with pytest.raises(EngineError, match=r"refuses a request without a key \(key_env\)"):
        probed(service_of(shape, key="sk-right"))
    monkeypatch.setenv("TIER_KEY", "sk-right")
    assert probed(service_of(shape, key="sk-right"), key_env="TIER_KEY").calls == 3


def test_a_key_that_is_not_set_is_a_mistake_of_the_job() -> None:
    with pytest.raises(JobError, match=r"model.key_env: MISSING_KEY is not set in this environment"):
        probed(service_of("openai"), key_env="MISSING_KEY")
