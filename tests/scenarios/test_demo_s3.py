"""`make demo-s3` once, as a user runs it: what it shows is true, and nothing is left of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# As the README has them; the demo runs them with the queue that it made.
README_COMMANDS = (
    "pipeline deploy my_job.yaml --watch s3://acme-inbox/inbox/",
    "prefect worker start --pool sluice",
    "pipeline listen s3://acme-inbox/inbox/ --job my_job.yaml --queue QUEUE_URL --prefect --job-files",
)


def processes_of(folder: str) -> list[str]:
    """Every process that was started by the demo has its folder in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(folder in value for value in process.environ().values()):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:  # it has just ended, or is another user's
            continue
    return found


@pytest.mark.prove
@pytest.mark.engine
@pytest.mark.timeout(900)  # on a busy machine
def test_dropped_files_become_rows_on_s3_and_nothing_is_left_running(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    installed.touch()  # the environment of these tests is the one to use
    done = subprocess.run(
        ["make", "demo-s3", f"BIN={Path(sys.executable).parent}", f"INSTALLED={installed}"],
        cwd=REPOSITORY,
        env=os.environ | {"AWS_PROFILE": "not-to-be-used", "PREFECT_API_KEY": "not-to-be-used"},
        capture_output=True,
        text=True,
    )
    shown = done.stdout
    assert done.returncode == 0, shown + done.stderr
    assert "SIMULATION" in shown

    queue = re.search(r"^  queue +(\S+)$", shown, flags=re.MULTILINE)
    assert queue, shown
    typed = {line.removeprefix("  $ ").replace(queue[1], "QUEUE_URL") for line in shown.splitlines()}
    assert set(README_COMMANDS) <= typed

    pages = re.findall(
        r"^    http://127\.0\.0\.1:\d+/runs/flow-run/[0-9a-f-]{36}\n    .* Completed after", shown, re.MULTILINE
    )
    assert len(pages) == 2, shown
    assert "s3://acme-inbox/inbox/scan.png is of a type that cannot be read; supported: .jsonl" in shown
    tickets, helpdesk = re.findall(r"^  (\d+) rows: (.*); cost (0\.\d+) USD$", shown, flags=re.MULTILINE)
    assert (tickets[0], helpdesk[0]) == ("60", "40")
    assert re.fullmatch(r"\d+ accepted, \d+ escalated", tickets[1])
    assert re.fullmatch(r"\d+ accepted, \d+ review", helpdesk[1]), "by its own job, nothing leaves the house"

    folder = re.search(r"^Data and logs are in (\S+) until the end", shown, flags=re.MULTILINE)
    assert folder
    assert processes_of(folder[1]) == []
    assert not Path(folder[1]).exists()
