"""The `pipeline` command as forks of one process that has imported everything: imports are most of a short command.

    python -m tests.command_forks SOCKET

Each connection asks for one command: arguments, folder and environment, with standard output and error as file
descriptors. It is answered with the command's process id at once, and with its exit code at the end. What is tested as
a process (`make demo`, commands in a terminal, those of the documents) is not started this way.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

# What a command would import while it runs.
_IMPORTED = (
    *("flows.console.terminal", "flows.inspect", "flows.submit", "flows.estimate", "flows.process"),
    *("flows.service.collect", "flows.service.deploy", "flows.escalation.providers", "flows.stages.review"),
    *("flows.drop_folder.listener", "workers.providers.claude", "obstore.auth.boto3"),
    *("transformers.tokenization_utils_tokenizers", "rich._emoji_codes", "fastapi", "pyarrow.dataset"),
)
READY = "ready"


class ForkedCommand:
    """A command that runs, with the members of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        server: str,
        arguments: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        output: IO[Any],
        error: IO[Any],
    ) -> None:
        asked = json.dumps({"arguments": arguments, "folder": str(folder), "environment": environment}).encode()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(server)
        socket.send_fds(self._connection, [len(asked).to_bytes(8)], [output.fileno(), error.fileno()])
        self._connection.sendall(asked)
        self.returncode: int | None = None
        self.pid = self._number(None)

    def poll(self) -> int | None:
        """The exit code, minus the signal if one ended it; None while it runs."""
        return self._exit_code(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended."""
        code = self._exit_code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("pipeline", timeout or 0)
        return code

    def _exit_code(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._connection], [], [], timeout)[0]:
            self.returncode = self._number(None)
            self._connection.close()
        return self.returncode

    def _number(self, timeout: float | None) -> int:
        self._connection.settimeout(timeout)
        line = b""
        while not line.endswith(b"\n"):
            more = self._connection.recv(1)
            assert more, "the process that forks commands is gone"
            line += more
        return int(line)


def _serve(path: str) -> dict[str, Any]:
    """Fork a command for each connection; returns only in those forks, with what was asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for commands
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print(READY, flush=True)
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                break
            connection.close()
    return _fork_and_wait(connection)


def _fork_and_wait(connection: socket.socket) -> dict[str, Any]:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, descriptors, _, _ = socket.recv_fds(connection, 8, 2)
    with connection.makefile("rb") as stream:
        asked: dict[str, Any] = json.loads(stream.read(int.from_bytes(length)))
    child = os.fork()
    if child == 0:
        connection.close()
        os.setsid()
        for number, descriptor in enumerate(descriptors, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return asked
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(b"%d\n" % child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(BrokenPipeError):  # nobody asks any more
        connection.sendall(b"%d\n" % code)
    os._exit(0)


def main() -> None:
    """Import, serve, and, in a fork, be the command."""
    from flows import cli  # before this process has the command's name, on which it would listen for signals
    from flows.quiet import quiet_third_parties
    from pipelines.report.html import page

    quiet_third_parties()
    path, sys.argv[:] = sys.argv[1], [str(Path(sys.executable).parent / "pipeline")]
    for name in _IMPORTED:
        importlib.import_module(name)
    for name in page.templates().list_templates(["jinja"]):
        page.templates().get_template(name)  # compiled
    importlib.import_module("tests.frozen")
    assert threading.active_count() == 1, "a fork has one thread"
    asked = _serve(path)

    from prefect.context import refresh_global_settings_context

    from flows.console.interruption import interruption
    from pipelines.settings import settings

    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv[1:] = asked["arguments"]
    settings.cache_clear()
    refresh_global_settings_context()
    interruption.install()
    cli.app()


if __name__ == "__main__":
    main()
