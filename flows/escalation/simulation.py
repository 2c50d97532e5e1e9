"""The local Message Batches service, run for one run when its provider is `simulation`.

It answers from the gold labels with a stated error rate: no Claude, no key, no money. The real SDK and the real
protocol are used all the same.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import ProviderError
from pipelines.settings import environment_without_keys

# The local service lists a batch the moment it takes it; this covers the slowest create on a busy machine.
SETTLE_SECONDS = 6.5
POLL_SECONDS = 0.05
NOTICE = "SIMULATION: answers come from the gold labels through a local service; no Claude is asked, nothing is billed"


def write_answer_key(answers: Iterable[tuple[str, dict[str, Any]]], path: Path) -> None:
    """Write what the service may answer: the hash of each text that is sent, and the known answer to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for text, answer in answers:
            digest = hashlib.sha256(text.encode()).hexdigest()
            stream.write(json.dumps({"text_sha256": digest, "answer": answer}) + "\n")


@contextmanager
def running_service(state: Path, answer_key: Path, error_rate: float) -> Iterator[str]:
    """Run the service as a child process; yields its URL. Its state stays in ``state`` for the next start.

    Raises:
        ProviderError: it does not start.
    """
    command = [
        # -P: the folder it runs in must not be searched for modules.
        *(sys.executable, "-P", "-m", "infra.local.message_batches"),
        *("--state", str(state), "--answer-key", str(answer_key), "--error-rate", str(error_rate)),
        "--exit-with-parent",
    ]
    process = subprocess.Popen(  # noqa: S603  # our own words
        command, stdout=subprocess.PIPE, text=True, env=environment_without_keys()
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ProviderError(f"the local simulation does not start (exit code {process.wait()}); see the log")
        yield str(json.loads(line)["url"])
    finally:
        process.terminate()
        process.wait()
