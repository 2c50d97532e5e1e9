"""`pipeline watch`: what is told of a run under way, how often its store is asked, and that it ends with the run."""

from __future__ import annotations

import io
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from flows.console import watching
from flows.console.progress import ProgressReporter
from flows.console.views.status import status_line, status_lines
from flows.console.watching import pause, watch_run
from pipelines.status.looking import RunLooker
from tests.made_up_run import accepted, write_run
from tests.scenarios.pipeline_command import COMMAND, PipelineCommand
from tests.scenarios.terminal_session import TerminalSession
from tests.status.run_under_way import NOW, RunUnderWay


def test_a_run_under_way_is_told_with_its_pace_its_batches_and_what_may_still_be_spent(tmp_path: Path) -> None:
    run = RunUnderWay(tmp_path)
    run.plan_is_whole(shards=200, items=2_000)
    run.engines(2)
    run.score(range(50), seconds_a_shard=1.0, device_seconds=1.5)
    run.send(0, items=1_200, seconds_ago=720, reserved_usd="0.75")
    told = status_lines(RunLooker(run.store).look(True, NOW), NOW + timedelta(seconds=4))
    assert told == [
        "run       run_1: scoring",
        "plan      2,000 items in 200 shards",
        "score     █████░░░░░░░░░░░░░░░ 25%  about 500 of 2,000 items, 10/s, 2 min left",
        "engines   2 devices, busy 75% of late",
        "Claude    0 of 1 message batches answered",
        "Claude      open: 1,200 items to claude-haiku-5-5, sent 12 min ago",
        "routes    no rows published yet",
        "cost      about 0.0750 USD so far (engine about 0.0750 USD, Claude 0 USD); what is open may cost up to "
        "0.750 USD more",
        "last      sign of life 4 s ago",
        "next      pipeline watch run_1   follows it",
    ]


def test_a_name_in_a_run_begins_no_line_of_its_own(tmp_path: Path) -> None:
    run = RunUnderWay(tmp_path)
    run.plan(range(1))
    status = RunLooker(run.store).look(True, NOW).model_copy(update={"run_id": "a\nrun       b: complete"})
    assert all("\n" not in line for line in [*status_lines(status, NOW), status_line(status)])


def test_a_store_whose_clock_is_ahead_has_not_committed_in_the_future(tmp_path: Path) -> None:
    run = RunUnderWay(tmp_path)
    run.plan(range(1), seconds_ago=0)
    told = status_lines(RunLooker(run.store).look(True, NOW), NOW - timedelta(minutes=5))
    assert "last      sign of life 0 s ago" in told


def test_s3_is_asked_about_one_thing_a_second_at_most_and_a_folder_read_for_a_twentieth_of_the_time() -> None:
    assert pause(7, 0.2, is_on_s3=True) == 10
    assert pause(64, 0.2, is_on_s3=True) == 64
    assert pause(4_000, 0.01, is_on_s3=False) == 1
    assert pause(4_000, 0.5, is_on_s3=False) == 10


def test_piped_it_says_lines_until_the_run_is_complete_and_a_look_that_fails_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(watching, "_SECONDS_BETWEEN_LINES", 0.0)
    run = RunUnderWay(tmp_path / "run")
    run.plan(range(2))
    written = io.StringIO()
    watching_it = threading.Thread(
        target=watch_run,
        args=(str(tmp_path / "run"), ProgressReporter(Console(file=written, width=100))),
        kwargs={"is_once": False},
        daemon=True,
    )
    watching_it.start()

    def wait_for(words: str) -> None:
        deadline = time.monotonic() + 20
        while words not in written.getvalue():
            assert time.monotonic() < deadline, written.getvalue()
            time.sleep(0.01)

    wait_for("planning, stopped: nothing scored yet")
    (tmp_path / "run" / "_COMPLETE").write_bytes(b"")
    wait_for("summary.json' is missing; was it deleted?")
    (tmp_path / "run" / "_COMPLETE").unlink()
    run.plan_is_whole(shards=2, items=20)
    run.score(range(1))
    wait_for("10 of 20 items")
    write_run(tmp_path / "whole", [list(map(accepted, range(20)))])
    for name in ("summary.json", "_COMPLETE"):
        (tmp_path / "run" / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    watching_it.join(60)
    assert not watching_it.is_alive()
    assert "run       run_1: complete" in written.getvalue()
    assert written.getvalue().endswith("next      pipeline results run_1\n")


@pytest.mark.processes
def test_at_a_terminal_it_is_redrawn_in_place_and_ctrl_c_leaves_the_run_as_it_is(tmp_path: Path) -> None:
    run = RunUnderWay(tmp_path / "run")
    run.plan(range(3))
    command = [str(COMMAND), "watch", str(tmp_path / "run")]
    with TerminalSession(command, PipelineCommand(tmp_path).environment) as terminal:
        terminal.wait_for("30 items in 3 shards so far")
        run.plan(range(3, 5))
        before = sorted((tmp_path / "run").rglob("*"))
        terminal.wait_for("50 items in 5 shards so far")
        assert terminal.screen.count("run_1") == 1 + terminal.screen.count("resume run_1")
        terminal.press("c")
        assert terminal.exit_code(60) == 130
        assert "no longer watching; the run is untouched" in terminal.screen
        assert "interrupted" not in terminal.screen
    assert sorted((tmp_path / "run").rglob("*")) == before
