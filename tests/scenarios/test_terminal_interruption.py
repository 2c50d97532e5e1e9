"""Ctrl-C, SIGTERM, a closed terminal and Ctrl-Z, in a real terminal, at every stage of a run."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from infra.local.engine import STAND_IN
from tests.infra.message_batches_server import Server
from tests.scenarios.pipeline_command import PipelineCommand, write_job
from tests.scenarios.prefect_server import prepare_database
from tests.scenarios.terminal_session import REPOSITORY, TerminalSession, assert_nothing_left
from tests.shared_servers import Variables

pytestmark = pytest.mark.processes

COMMAND = str(Path(sys.executable).parent / "pipeline")
WORDS = "interrupted; what is committed is kept: the same command does the rest"
LIMIT_SECONDS = 60  # three are promised, to machines that do nothing else
TICKETS = (REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl").read_text().splitlines()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "tickets.jsonl").write_text("\n".join(TICKETS[:200]))
    return write_job(
        tmp_path / "job.yaml",
        input=str(tmp_path / "tickets.jsonl"),
        output=str(tmp_path / "out"),
        compute={"engines": 1},
    )


@pytest.fixture
def pipeline(tmp_path: Path) -> PipelineCommand:
    """With an engine that starts at once and prints a lot, a traceback among it."""
    engine = tmp_path / "engine" / "vllm"
    engine.mkdir(parents=True)
    (engine / "__init__.py").write_text(
        "import sys, traceback\n"
        f"stand_in = {str(STAND_IN / 'vllm')!r}\n"
        "__path__.append(stand_in)\n"
        "print('NOISE on standard output', flush=True)\n"
        "try:\n    raise ValueError('NOISE')\nexcept ValueError:\n    traceback.print_exc()\n"
        "exec(open(stand_in + '/__init__.py').read())\n"
    )
    prepare_database(tmp_path / "prefect")
    slow = {"ENGINE_STAND_IN_SECONDS_PER_TOKEN": "0.02"}  # so that there is something to interrupt
    return PipelineCommand(tmp_path, slow | {"PYTHONPATH": str(engine.parent)})


def session(pipeline: PipelineCommand, *arguments: str | Path) -> TerminalSession:
    return TerminalSession([COMMAND, *map(str, arguments)], pipeline.environment)


def assert_interrupted(terminal: TerminalSession, code: int) -> None:
    asked_at = time.monotonic()
    assert terminal.exit_code(LIMIT_SECONDS) == code
    assert time.monotonic() - asked_at < LIMIT_SECONDS
    # A terminal may echo the second key after our last word.
    assert [line for line in terminal.lines if line not in ("", "^C")][-1] == WORDS
    assert_only_our_lines(terminal)


def assert_only_our_lines(terminal: TerminalSession) -> None:
    for foreign in ("Traceback", "NOISE", "Scorer", "pid=", "WARNING", "httpx"):
        assert foreign not in terminal.transcript


@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.0])
def test_ctrl_c_while_the_command_starts(pipeline: PipelineCommand, job: Path, seconds: float) -> None:
    with session(pipeline, "submit", job) as terminal:
        terminal.wait_for("log ")  # before that, it is the interpreter's own start that ends
        time.sleep(seconds)
        terminal.press("c")
        assert_interrupted(terminal, 130)
    assert_nothing_left(pipeline.home)


def scored_shards(job: Path) -> list[Path]:
    return list((job.parent / "out").glob("*/predictions/part-*"))


@pytest.mark.prove
def test_ctrl_z_and_fg_then_ctrl_c_twice_then_the_same_command(
    pipeline: PipelineCommand, servers: Variables, job: Path
) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with TerminalSession(shell, pipeline.environment | {"PS1": "$ "}) as terminal:
        terminal.type(f"{COMMAND} submit {job}")
        terminal.wait_for("0 of 200 items")
        terminal.press("z")
        terminal.wait_for("Stopped")
        time.sleep(2)
        scored = len(scored_shards(job))
        terminal.type("fg; echo ended with $?")
        terminal.wait_until(lambda: len(scored_shards(job)) > scored, "another scored shard")
        terminal.press("c")
        terminal.press("c")
        terminal.wait_for("ended with 130")
        assert WORDS in terminal.screen
        assert_only_our_lines(terminal)
        assert "NOISE" in pipeline.log()
        terminal.type("exit")
        terminal.exit_code(LIMIT_SECONDS)
    assert_nothing_left(pipeline.home)
    pipeline.extra_environment.update(servers)
    outcome = pipeline.run_json("submit", job)
    assert outcome["state"] == "complete"
    assert len(list((job.parent / "out").iterdir())) == 1, "the same run went on"


# Each (command, end, exit code); the first does all of it, the others find everything scored and sent.
SHORT = (("submit", signal.SIGTERM, 143), ("collect", "Ctrl-C", 130))
LONG = (*SHORT[:1], ("submit", "hang up", 129), ("cancel", "Ctrl-C", 130), *SHORT[1:])


@pytest.mark.parametrize(
    "ends", [pytest.param(SHORT, id="short"), pytest.param(LONG, marks=pytest.mark.prove, id="all")]
)
def test_every_end_while_claude_is_waited_for(
    pipeline: PipelineCommand,
    servers: Variables,
    job: Path,
    tmp_path: Path,
    ends: tuple[tuple[str, signal.Signals | str, int], ...],
) -> None:
    pipeline.extra_environment.update(servers)
    with Server(tmp_path / "claude", "--processing-seconds", "600", "--cancel-seconds", "600") as claude:
        environment = {"ANTHROPIC_API_KEY": "key", "ANTHROPIC_BASE_URL": claude.url, "SLUICE_POLL_SECONDS": "0.5"}
        pipeline.extra_environment.update(environment)
        for command, end, code in ends:
            arguments: list[str | Path] = ["submit", job, "--provider", "anthropic"]
            if command == "cancel":
                arguments = ["cancel", next((tmp_path / "out").iterdir())]
            if command == "collect":
                arguments = ["collect", "--every", "600"]
            with session(pipeline, *arguments) as terminal:
                terminal.wait_for("Claude is answering" if command == "collect" else "most take under an hour")
                terminal.wait_until(lambda: any((tmp_path / "out").glob("*/escalations/*/submitted*")), "a batch")
                if end == "hang up":
                    terminal.hang_up()
                    assert terminal.exit_code(LIMIT_SECONDS) == code
                    continue
                if end == "Ctrl-C":
                    terminal.press("c")
                else:
                    terminal.send_signal(signal.SIGTERM)
                assert_interrupted(terminal, code)
        assert claude.process.poll() is None
    assert_nothing_left(pipeline.home)


@pytest.mark.parametrize("has_run_in_hand", [False, pytest.param(True, marks=pytest.mark.prove)])
def test_ctrl_c_of_a_listener(
    pipeline: PipelineCommand, servers: Variables, job: Path, tmp_path: Path, has_run_in_hand: bool
) -> None:
    pipeline.extra_environment.update(servers)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with session(pipeline, "listen", inbox, "--job", job, "--poll-seconds", "0.2") as terminal:
        terminal.wait_for("listening to")
        if has_run_in_hand:
            (inbox / "tickets.jsonl").write_text("\n".join(TICKETS[:200]))
            terminal.wait_until(lambda: any((tmp_path / "out").glob("*/plan/part-*")), "a plan")
            terminal.press("c")
            assert_interrupted(terminal, 130)
        else:
            terminal.press("c")
            assert terminal.exit_code(LIMIT_SECONDS) == 0
            assert terminal.screen.endswith("stopped")
    assert_nothing_left(pipeline.home)
