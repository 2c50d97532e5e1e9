"""What `make demo-s3` does on a slow machine: it waits, says for what, and asks again."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from infra.local.demo_s3 import prefect_runs, processes, stack
from infra.local.demo_s3.prefect_runs import PrefectServer
from infra.local.demo_s3.processes import DemoError, Processes

REQUEST = httpx2.Request("POST", "http://127.0.0.1:9/api")


@pytest.mark.parametrize(
    "answer",
    [httpx2.ReadTimeout("timed out"), httpx2.ConnectError("refused"), httpx2.Response(500, request=REQUEST)],
    ids=repr,
)
def test_a_prefect_server_that_is_too_busy_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, answer: Exception | httpx2.Response
) -> None:
    def ask(*_: object, **__: object) -> httpx2.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(prefect_runs.httpx2, "post", ask)
    monkeypatch.setattr(prefect_runs.httpx2, "get", ask)
    server = PrefectServer("http://127.0.0.1:9/api")
    assert server.flow_run("http://127.0.0.1:9/runs/flow-run/1") is None
    assert not server.has_worker("sluice")
    assert not server.is_up()


def test_a_long_wait_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "_SILENT_SECONDS", 0)
    monkeypatch.setattr(processes, "_POLL_SECONDS", 0)
    looks = iter([None, None, None, "here"])
    assert Processes(tmp_path).wait_for("the worker", lambda: next(looks), 600) == "here"
    assert capsys.readouterr().out == "  waiting for the worker, 600 s at most\n"


def test_a_local_service_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(*_: object, **__: object) -> None:
        raise httpx2.ReadTimeout("timed out")

    monkeypatch.setattr(stack.httpx2, "post", time_out)
    with pytest.raises(DemoError, match=r"CloudFormation at http://127\.0\.0\.1:9 did not answer CreateStack"):
        stack.create_stack("http://127.0.0.1:9", "sluice", Path(__file__), {})
