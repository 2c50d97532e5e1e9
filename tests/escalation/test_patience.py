"""Asking again while a provider is unavailable: reads for an hour, a create only while its intent still holds."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.errors import ProviderError
from pipelines.escalation import patience
from pipelines.escalation.patience import PatientProvider
from pipelines.escalation.provider import (
    AccountError,
    BatchStatus,
    ItemResult,
    OutcomeUnknownError,
    RefusedError,
    Request,
    TooLargeError,
    UnavailableError,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
REQUEST: Request = {"custom_id": "id", "params": {}}
ROWS = [ItemResult("a", "canceled"), ItemResult("b", "canceled")]
STATUS = BatchStatus("msgbatch_1", NOW, is_ended=True, requests=2, finished_requests=2)
LONGEST_WAIT = 10.0


class Failing:
    """Fails each call with the given errors in turn, then works; results fail after their first row."""

    name = "failing"
    price_provider = "anthropic"
    settle_seconds = 720.0
    minimum_requests = 100

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.errors:
            raise self.errors.pop(0)

    def check(self, request: Request) -> None:
        self._call("check")

    def create(self, requests: Sequence[Request], token: str) -> str:
        self._call(f"create {token}")
        return "msgbatch_1"

    def retrieve(self, batch_id: str) -> BatchStatus:
        self._call("retrieve")
        return STATUS

    def list_since(self, created_after: datetime) -> list[BatchStatus]:
        self._call("list_since")
        return [STATUS]

    def results(self, batch_id: str) -> Iterator[ItemResult]:
        yield ROWS[0]
        self._call("results")
        yield ROWS[1]

    def cancel(self, batch_id: str) -> None:
        self._call("cancel")

    def delete(self, batch_id: str) -> None:
        self._call("delete")


CALLS: dict[str, tuple[Callable[[PatientProvider], Any], Any]] = {
    "check": (lambda provider: provider.check(REQUEST), None),
    "create": (lambda provider: provider.create([REQUEST], "t"), "msgbatch_1"),
    "retrieve": (lambda provider: provider.retrieve("msgbatch_1"), STATUS),
    "list_since": (lambda provider: provider.list_since(NOW), [STATUS]),
    "results": (lambda provider: list(provider.results("msgbatch_1")), ROWS),
    "cancel": (lambda provider: provider.cancel("msgbatch_1"), None),
    "delete": (lambda provider: provider.delete("msgbatch_1"), None),
}


class Time:
    """Time that passes only in sleep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []
        monkeypatch.setattr("time.monotonic", lambda: self.seconds)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_made_again_while_the_provider_is_unavailable(time: Time, name: str) -> None:
    call, expected = CALLS[name]
    provider = Failing(*[UnavailableError("503")] * 3)
    assert call(PatientProvider(provider, time.sleep, 1.0)) == expected
    assert len(provider.calls) == 4
    assert len(time.sleeps) == 3
    assert all(0 <= seconds <= 1.0 for seconds in time.sleeps)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "error", [RefusedError, AccountError, TooLargeError, OutcomeUnknownError, ProviderError, KeyError]
)
def test_nothing_else_is_repeated(time: Time, name: str, error: type[Exception]) -> None:
    provider = Failing(error("words"))
    with pytest.raises(error, match="words"):
        CALLS[name][0](PatientProvider(provider, time.sleep, LONGEST_WAIT))
    assert len(provider.calls) == 1
    assert time.sleeps == []


def test_a_create_that_may_have_worked_is_not_made_again_even_after_one_that_did_not(time: Time) -> None:
    provider = Failing(UnavailableError("429"), OutcomeUnknownError("dropped"))
    with pytest.raises(OutcomeUnknownError):
        PatientProvider(provider, time.sleep, LONGEST_WAIT).create([REQUEST], "t")
    assert provider.calls == ["create t", "create t"]


@pytest.mark.parametrize("name", [name for name in CALLS if name != "create"])
def test_an_hour_of_silence_is_an_outage(time: Time, name: str) -> None:
    provider = Failing(*[UnavailableError("503")] * 10_000)
    with pytest.raises(UnavailableError):
        CALLS[name][0](PatientProvider(provider, time.sleep, 1_000.0))
    assert patience.PATIENCE_SECONDS <= time.seconds <= patience.PATIENCE_SECONDS + 60
    assert max(time.sleeps) <= 60


def test_a_create_is_not_repeated_beyond_the_time_after_which_its_intent_is_void(time: Time) -> None:
    """Otherwise another process would declare it void and send it too, and both would be paid."""
    provider = Failing(*[UnavailableError("429")] * 10_000)
    patient = PatientProvider(provider, time.sleep, LONGEST_WAIT)
    with pytest.raises(UnavailableError):
        patient.create([REQUEST], "t")
    assert len(provider.calls) > 5
    assert time.seconds <= patient.settle_seconds - provider.settle_seconds


def test_a_reading_that_broke_off_begins_again_without_doubling_rows(time: Time) -> None:
    provider = Failing(UnavailableError("cut"), UnavailableError("cut"))
    assert list(PatientProvider(provider, time.sleep, LONGEST_WAIT).results("msgbatch_1")) == ROWS


def test_each_call_has_its_own_patience(time: Time) -> None:
    provider = Failing(*[UnavailableError("503")] * 3)
    patient = PatientProvider(provider, time.sleep, LONGEST_WAIT)
    patient.retrieve("msgbatch_1")
    time.seconds += patience.PATIENCE_SECONDS
    provider.errors = [UnavailableError("503")]
    assert patient.retrieve("msgbatch_1") == STATUS


def test_what_the_provider_says_of_itself_is_passed_on(time: Time) -> None:
    patient = PatientProvider(Failing(), time.sleep, LONGEST_WAIT)
    assert (patient.name, patient.price_provider, patient.minimum_requests) == ("failing", "anthropic", 100)
    assert patient.settle_seconds > Failing.settle_seconds
