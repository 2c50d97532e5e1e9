"""`model: {endpoint: ...}` in a job file: what may stand there, and that no key does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipelines.errors import JobError
from pipelines.job.endpoint import ModelEndpoint
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job
from tests.test_documents import named_file

REST = """
name: over-http
task: classification
input: in.jsonl
output: out
labels: {billing: null, other: null}
quality: {raw_threshold: 0.9}
escalation: off
"""


def model(written: str, more: str = "") -> ModelEndpoint:
    parsed = parse_job(f"model: {written}\n{REST}{more}", "job.yaml").model
    assert isinstance(parsed, ModelEndpoint)
    return parsed


def problem(written: str, more: str = "") -> str:
    with pytest.raises(JobError) as refused:
        model(written, more)
    (only,) = refused.value.problems
    return only


def test_the_pages_own_job_is_one() -> None:
    job: Job = parse_job(named_file("over_http.yaml"), "over_http.yaml")
    assert isinstance(job.model, ModelEndpoint) and job.model.where == "own"


def test_the_address_is_the_same_with_and_without_its_version() -> None:
    for written in ("http://h:8000", "http://h:8000/", "http://h:8000/v1", "http://h:8000/v1/"):
        assert model(f"{{endpoint: '{written}', name: q, where: own}}").endpoint == "http://h:8000"


def test_prices_are_decimals() -> None:
    price = model("{endpoint: 'https://h', name: q, where: hosted, price: {input: '0.042'}}").price
    assert price and (price.input, price.output, price.cache_read) == (Decimal("0.042"), 0, None)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{endpoint: 'ftp://h', name: q, where: own}", "the address of a server is expected"),
        ("{endpoint: 'h:8000', name: q, where: own}", "the address of a server is expected"),
        ("{endpoint: 'http://h:port', name: q, where: own}", "no address can be written like this"),
        ("{endpoint: 'http://me:sk-1@h', name: q, where: own}", "a key stands in an environment variable"),
        ("{endpoint: 'http://h?key=sk-1', name: q, where: own}", "a key stands in an environment variable"),
        ("{endpoint: 'http://h', name: q, where: hosted}", "use https://"),
        ("{endpoint: 'http://h', name: q}", "model.where: missing"),
        ('{endpoint: "http://h\\u001b", name: q, where: own}', "control or private-use character"),
        ('{endpoint: "http://h", name: "q\\u001b", where: own}', "control or private-use character"),
        ("{endpoint: 'http://h', name: q, where: own, key_env: sk-abc}", "name of an environment variable is expected"),
        ("{endpoint: 'https://h', name: q, where: own, key_env: ANTHROPIC_API_KEY}", "opens another account"),
        ("{endpoint: 'https://h', name: q, where: own, key_env: AWS_ACCESS_KEY}", "opens another account"),
        ("{endpoint: 'http://h', name: q, where: own, price: {input: -1}}", "greater than or equal to 0"),
        ("{endpoint: 'http://h', name: q, where: own, api: anthropic}", "model.api: input should be"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(written: str, told: str) -> None:
    said = problem(written)
    assert said.startswith("line 1: model") and told in said
    assert "sk-" not in said


def test_what_goes_with_engines_alone_is_refused() -> None:
    own = "{endpoint: 'http://h', name: q, where: own}"
    assert "compute: is of engines" in problem(own, "compute: {device_hour_usd: 1}\n")
    assert "reads the labels as given" in problem(own, "label_order: averaged\n")
    review = REST.replace("classification", "code_review").replace("labels: {billing: null, other: null}\n", "")
    parse_job(f"model: {own}\n{review}", "job.yaml")
    for api in ("systemone", "ollama"):
        with pytest.raises(JobError, match=f"model.api: a code review is asked by token ids.*not by `{api}`"):
            parse_job(f"model: {own.replace('own', f'own, api: {api}')}\n{review}", "job.yaml")


def test_a_server_on_this_machine_may_stand_in_for_a_hosted_one() -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert model(f"{{endpoint: 'http://{host}:1', name: q, where: hosted}}").where == "hosted"
