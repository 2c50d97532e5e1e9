"""The whole screen of the sample job with the real engine: only lines of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.scenarios.pipeline_command import COMMAND, TICKETS_JOB, PipelineCommand
from tests.scenarios.terminal_session import TerminalSession

# Up to the card at the end: what a stage came to, and what is said between.
OURS = re.compile(
    r"log |run |plan +2,000 documents in|engines +(\d+ started|no more)|score +2,000 items in|SIMULATION: |is billed$|"
    r"round \d |escalate +[\d,]+ items in|audit |publish +[\d,]+ items in|simulation: "
)


@pytest.mark.prove
@pytest.mark.engine
@pytest.mark.timeout(900)  # on a busy machine
def test_a_run_shows_nothing_but_its_own_lines(pipeline: PipelineCommand, tmp_path: Path) -> None:
    command = [str(COMMAND), "submit", str(TICKETS_JOB), "--output", str(tmp_path / "out")]
    with TerminalSession(command, pipeline.environment) as terminal:
        assert terminal.exit_code(800) == 0
        lines = terminal.lines
        end = next(number for number, line in enumerate(lines) if line.startswith("promise "))
        path_continued = [
            number + 1 for number, line in enumerate(lines) if line.startswith("log ") and len(line) == 100
        ]
        foreign = [
            line for number, line in enumerate(lines[:end]) if number not in path_continued and not OURS.match(line)
        ]
        assert foreign == []
        for word in ("Traceback", "Scorer", "pid=", "WARNING", "INFO"):
            assert word not in terminal.transcript
