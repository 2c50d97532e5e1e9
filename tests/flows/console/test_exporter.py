"""Metrics are served where the settings ask for them, as long as the run's process works, and never stop a run."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import ValidationError

from flows.console import artifact
from flows.console.artifact import table_of
from flows.console.exporter import served_metrics
from pipelines.settings import Settings, settings
from pipelines.status.looking import RunLooker
from pipelines.status.record import RunStatus
from tests.status.run_under_way import NOW, RunUnderWay


@pytest.fixture
def run(tmp_path: Path) -> RunUnderWay:
    run = RunUnderWay(tmp_path)
    run.plan_is_whole(shards=4, items=40)
    run.score(range(2))
    return run


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    monkeypatch.setenv("SLUICE_METRICS_ADDRESS", f"127.0.0.1:{free}")
    settings.cache_clear()
    yield free
    settings.cache_clear()


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as reply:
        return str(reply.read().decode())


def test_a_scrape_finds_the_run_and_after_the_run_nothing(run: RunUnderWay, port: int) -> None:
    said: list[str] = []
    with served_metrics(run.store, said.append):
        found = scrape(port)
    assert said == [f"metrics   http://127.0.0.1:{port}/metrics"]
    assert 'sluice_run_scored_items{run="run_1"} 20.0' in found
    assert 'sluice_run_stage{run="run_1",stage="score"} 1.0' in found
    assert "python_info" not in found, "of this run, and of nothing else"
    with pytest.raises(urllib.error.URLError):
        scrape(port)


def test_a_scrape_within_ten_seconds_asks_nothing_of_the_store(run: RunUnderWay, port: int) -> None:
    with served_metrics(run.store, lambda _: None):
        first = scrape(port)
        asked = run.store.requests
        assert scrape(port) == first
        assert run.store.requests == asked


def test_a_port_that_is_taken_is_told_and_the_run_goes_on(run: RunUnderWay, port: int) -> None:
    said: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with served_metrics(run.store, said.append):
            pass
    assert said == [f"metrics   are not served at 127.0.0.1:{port}: Address already in use; the run goes on without"]


def test_nothing_is_served_unless_it_is_asked_for(run: RunUnderWay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_METRICS_ADDRESS", raising=False)
    settings.cache_clear()
    said: list[str] = []
    with served_metrics(run.store, said.append):
        assert (said, run.store.requests) == ([], run.store.requests)


@pytest.mark.parametrize("address", ["9464", "http://x:1/", "host:port", ""])
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_METRICS_ADDRESS", address)
    with pytest.raises(ValidationError):
        Settings()


def test_prefects_page_shows_the_same_list(run: RunUnderWay) -> None:
    rows = table_of(RunLooker(run.store).look(True, NOW))
    assert {"metric": "sluice_run_scored_items", "of": "", "value": 20.0, "unit": "items"} in rows


def test_prefects_page_is_brought_up_to_date_now_and_then_and_at_the_end(
    run: RunUnderWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    class Client:
        def update_artifact(self, artifact_id: object, artifact: object) -> None:
            shown.append("updated")

    def create(rows: object, key: str, description: str) -> str:
        shown.append(f"{key}: {description}")
        return "00000000-0000-0000-0000-000000000001"

    monkeypatch.setattr(artifact, "create_table_artifact", create)
    monkeypatch.setattr(artifact, "get_client", lambda sync_client: Client())
    metrics = artifact.MetricsArtifact(run.store)
    metrics.update()
    metrics.update()
    assert shown == ["metrics: Metrics of run_1"]
    metrics.update(is_last=True)
    assert shown == ["metrics: Metrics of run_1", "updated"]


def test_a_look_that_fails_does_not_end_the_run(
    run: RunUnderWay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look(self: RunLooker, **named: object) -> None:
        raise ValueError("no such column")

    monkeypatch.setattr(RunLooker, "look", look)
    artifact.MetricsArtifact(run.store).update()
    assert "no such column" in caplog.text


def test_stages_side_by_side_do_not_look_at_a_time(run: RunUnderWay, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, look_at, looks = artifact.MetricsArtifact(run.store), RunLooker.look, []

    def look(looker: RunLooker, **named: bool) -> RunStatus:
        looks.append(threading.current_thread().name)
        if len(looks) == 1:
            other = threading.Thread(target=metrics.update)
            other.start()
            other.join()
        return look_at(looker, True, NOW)

    monkeypatch.setattr(artifact, "_SECONDS_BETWEEN_UPDATES", 0)
    monkeypatch.setattr(artifact, "create_table_artifact", lambda *rows, **named: str(uuid4()))
    monkeypatch.setattr(artifact, "get_client", lambda **named: pytest.fail("a second table was shown"))
    monkeypatch.setattr(RunLooker, "look", look)
    metrics.update()
    assert looks == [threading.current_thread().name]
