"""The `pipeline` command as processes to kill: forks of one that has imported everything, so that none takes long."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.process import BaseProcess
from pathlib import Path

# What a command would import while it runs.
_IMPORTED = [
    *("tests.chaos.commands", "tests.chaos.command", "flows.console.terminal", "flows.submit", "flows.process"),
    *("flows.escalation.providers", "flows.service.collect", "flows.drop_folder.listener", "obstore.auth.boto3"),
    *("transformers.tokenization_utils_tokenizers", "tests.frozen"),
]
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(_IMPORTED)


def start_command(arguments: list[str], state_dir: Path, log: Path) -> BaseProcess:
    """Start `pipeline` with the arguments; what it says goes to the log.

    The environment is this process's own, as it was when the first command was started.
    """
    process = _forks.Process(target=_run, args=(arguments, state_dir, log))
    process.start()
    return process


def _run(arguments: list[str], state_dir: Path, log: Path) -> None:
    from tests.chaos.command import app

    os.environ["SLUICE_STATE_DIR"] = str(state_dir)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    app(arguments)
