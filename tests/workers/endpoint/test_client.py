"""A call is made again where that is free, and where the server has refused it for sure."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from infra.local.first_tier.service import Fault
from pipelines.errors import EngineError
from tests.workers.endpoint.asked import client_of, endpoint, service_of
from workers.endpoint.client import FirstTierClient, OutcomeUnknownError, RefusedError, ServerFailedError

PATH = "/v1/systemone"
BODY = {"model": "stand-in", "state": "hello", "questions": {"label": {"criteria": {"a": None, "b": None}}}}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_ones_own_server_is_asked_again(status: int) -> None:
    service = service_of("systemone")
    service.faults = [Fault("status", status=status, times=2)]
    waits: list[float] = []
    assert "answers" in client_of(service, endpoint(), waits).post(PATH, BODY)
    assert len(waits) == 2 and waits[1] > waits[0]


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_hosted_server_is_asked_again_where_it_took_nothing(status: int) -> None:
    service = service_of("systemone")
    service.faults = [Fault("status", status=status, times=2)]
    assert "answers" in client_of(service, endpoint(where="hosted")).post(PATH, BODY)
    assert service.was_processed("hello") == 1


@pytest.mark.parametrize("fault", [Fault("status", status=500), Fault("status", status=504), Fault("break")])
def test_a_hosted_server_is_not_asked_again_where_it_may_have_been_paid(fault: Fault) -> None:
    service = service_of("systemone")
    service.faults = [fault]
    waits: list[float] = []
    with pytest.raises(OutcomeUnknownError):
        client_of(service, endpoint(where="hosted"), waits).post(PATH, BODY)
    assert waits == [] and service.was_processed("hello") <= 1


def test_ones_own_server_is_asked_again_after_a_broken_connection() -> None:
    service = service_of("systemone")
    service.faults = [Fault("break", times=1)]
    assert "answers" in client_of(service, endpoint()).post(PATH, BODY)


def test_the_server_says_how_long_to_wait() -> None:
    service = service_of("systemone")
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    service.faults = [
        Fault("status", status=429, retry_after="7", times=1),
        Fault("status", status=429, retry_after=later, times=1),
        Fault("status", status=429, retry_after="soon", times=1),
        Fault("status", status=429, retry_after="86400", times=1),
    ]
    waits: list[float] = []
    client_of(service, endpoint(), waits).post(PATH, BODY)
    assert waits[0] == 7
    assert 60 < waits[1] <= 90
    assert 0 < waits[2] < 30  # no number and no date: as without
    assert waits[3] == 600  # nobody waits a day


def test_a_server_that_stays_away_ends_the_asking_with_what_to_do() -> None:
    service = service_of("systemone")
    service.faults = [Fault("status", status=503)]
    with pytest.raises(
        EngineError, match=r"at http://localhost:8000 does not answer \(HTTP 503; asked 8 times\); see whether"
    ):
        client_of(service, endpoint()).post(PATH, BODY)


def test_a_request_on_which_ones_own_server_fails_is_given_up_soon() -> None:
    service = service_of("systemone")
    service.faults = [Fault("status", status=500)]
    with pytest.raises(ServerFailedError, match="HTTP 500, 3 times"):
        client_of(service, endpoint()).post(PATH, BODY)


def test_a_key_that_may_ask_and_not_list_is_good_enough() -> None:
    asked = endpoint()
    forbidding = httpx2.MockTransport(lambda request: httpx2.Response(403 if request.method == "GET" else 200, json={}))
    client = FirstTierClient(asked, transport=forbidding)
    assert client.get("/v1/models") is None
    assert client.post(PATH, BODY) == {}


def test_an_unreachable_server_is_told_by_its_address() -> None:
    asked = endpoint(endpoint="http://127.0.0.1:1")
    with pytest.raises(EngineError, match=r"the first tier at http://127.0.0.1:1 does not answer \(ConnectError"):
        FirstTierClient(asked, attempts=1).post(PATH, BODY)


def test_a_redirect_takes_neither_documents_nor_the_key_elsewhere() -> None:
    asked = endpoint()
    moved = httpx2.MockTransport(lambda request: httpx2.Response(307, headers={"location": "http://elsewhere/"}))
    with pytest.raises(EngineError, match="sends requests on to another address"):
        FirstTierClient(asked, transport=moved).post(PATH, BODY)


def test_what_a_server_says_of_a_refusal_is_no_part_of_the_message() -> None:
    """It may quote the document."""
    service = service_of("systemone")
    with pytest.raises(RefusedError) as refused:
        client_of(service, endpoint()).post(PATH, BODY | {"secret words": 1})
    assert str(refused.value) == "HTTP 400"
    assert "secret words" in refused.value.words


def test_no_call_leaves_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client = client_of(service_of("systemone"), endpoint())
    client.post(PATH, BODY)
    client.close()
    assert caplog.records == []
    other = httpx2.Client(transport=httpx2.MockTransport(lambda request: httpx2.Response(200)))
    other.get("http://elsewhere/")
    assert len(caplog.records) == 1  # of others', what there was before


def test_no_failed_call_is_made_again_once_the_run_is_stopped() -> None:
    service = service_of("systemone")
    service.faults = [Fault("status", status=503)]
    client = client_of(service, endpoint())
    client.give_up()
    with pytest.raises(EngineError, match="asked 1 times"):
        client.post(PATH, BODY)
