"""The `pipeline` command, with all it keeps in folders of the test: installed, or as a fork that starts at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from tests.command_forks import ForkedCommand

REPOSITORY = Path(__file__).resolve().parents[2]
TICKETS_JOB = REPOSITORY / "sample_data/jobs/tickets.yaml"
COMMAND = Path(sys.executable).parent / "pipeline"
_Process = subprocess.Popen[bytes] | ForkedCommand


@dataclass(frozen=True)
class PipelineCommand:
    """Runs the command in an environment of its own; ``forks`` names the process that forks it, if one does."""

    home: Path
    extra_environment: dict[str, str] = field(default_factory=dict)
    forks: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        kept = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "OMP_NUM_THREADS")  # how many threads a training may take
        keep = {name: os.environ[name] for name in kept if name in os.environ}
        return {
            **keep,
            "SLUICE_STATE_DIR": str(self.home / "state"),
            "PREFECT_HOME": str(self.home / "prefect"),
            "HF_HUB_OFFLINE": "1",
            "RAY_worker_niceness": "0",  # Ray's 15 would have engines wait for whatever else is tested meanwhile
            "COLUMNS": "200",
            **self.extra_environment,
        }

    def run(self, *arguments: str | Path, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as error:
            process = self._start(arguments, output, error)
            try:
                code = process.wait(timeout)
            except BaseException:  # Ctrl-C and a timeout too: it would outlive the test
                _kill(process)
                raise
            output.seek(0), error.seek(0)
            return subprocess.CompletedProcess(arguments, code, output.read(), error.read())

    def run_json(self, *arguments: str | Path, timeout: float = 500) -> Any:
        done = self.run(*arguments, "--json", timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        return json.loads(done.stdout)

    def run_and_kill(self, *arguments: str | Path, when: Callable[[], bool], timeout: float = 400) -> None:
        """Start the command and kill it, with every process it started, as soon as ``when`` says so."""
        with open(os.devnull, "w") as nowhere:
            process = self._start(arguments, nowhere, nowhere)
        deadline = time.monotonic() + timeout
        try:
            while not when():
                assert process.poll() is None or when(), "it ended before it could be killed\n" + self.log()
                assert time.monotonic() < deadline, "the moment to kill never came\n" + self.log()
                time.sleep(0.05)
        finally:
            _kill(process)

    def _start(self, arguments: Sequence[str | Path], output: IO[str], error: IO[str]) -> _Process:
        """In a session of its own, so that all it starts can be killed with it."""
        given = [str(argument) for argument in arguments]
        if self.forks:
            return ForkedCommand(self.forks, given, REPOSITORY, self.environment, output, error)
        return subprocess.Popen(
            [COMMAND, *given], cwd=REPOSITORY, env=self.environment, stdout=output, stderr=error, start_new_session=True
        )

    def log(self) -> str:
        """The end of the newest log, for messages of failed tests."""
        logs = sorted((self.home / "state" / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
        return logs[-1].read_text(errors="replace")[-6000:] if logs else "(no log)"


def _kill(process: _Process) -> None:
    with suppress(ProcessLookupError):  # it and all it started have ended by themselves
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write_job(path: Path, **changes: Any) -> Path:
    """The sample job with a raw threshold, which decides about few documents as well as many, and fields changed.

    Dotted names are not needed, whole sections are replaced.
    """
    fixed = {"quality": {"raw_threshold": 0.9}, "compute": {"device_hour_usd": 0.05, "engines": 1}}
    job = yaml.safe_load(TICKETS_JOB.read_text()) | fixed | changes
    kept = {name: value for name, value in job.items() if value is not None}
    path.write_text(yaml.safe_dump(kept, sort_keys=False))  # the order of the labels is part of the prompt
    return path
