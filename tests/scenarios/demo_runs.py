"""`make demo` once for all tests: the one run of each task on a real engine, with its own Ray and Prefect server.

Over fewer documents than the sample has, for what an engine does with 700 it does with 2,000; `test_make_demo.py` has
all of them, in `make prove`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as dataset
import pytest

from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand

TICKETS, DIFFS = 700, 80
_MOST_SECONDS = 900  # on a busy machine


@dataclass
class DemoRun:
    """One of the two runs."""

    root: Path

    @property
    def run_id(self) -> str:
        return self.root.name

    @cached_property
    def summary(self) -> Any:
        return json.loads((self.root / "summary.json").read_text())

    @cached_property
    def rows(self) -> pa.Table:
        return dataset.dataset(self.root / "results").to_table()


@dataclass
class Demo:
    """What `make demo` showed, and left."""

    shown: str
    pipeline: PipelineCommand
    tickets: DemoRun
    review: DemoRun


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """As a user runs it, but for the environment, which is the one of these tests, and where its state lies."""
    with make_demo(tmp_path_factory.mktemp("demo"), f"TICKETS={TICKETS}", f"DIFFS={DIFFS}") as made:
        yield made


@contextmanager
def make_demo(home: Path, *variables: str) -> Iterator[Demo]:
    """Run `make demo` with state and servers below ``home``; its runs are removed at the end."""
    pipeline = PipelineCommand(home)
    (home / "installed").touch()
    # A demo that the user has interrupted is the user's to go on with.
    own = [f"BIN={Path(sys.executable).parent}", f"INSTALLED={home / 'installed'}", f"DEMO_RUN={home / 'demo-run'}"]
    command = ["make", "demo", *own, *variables]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=pipeline.environment, capture_output=True, text=True, timeout=_MOST_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr + pipeline.log()
    roots = re.findall(r"^results +(\S+)/results$", done.stdout, flags=re.MULTILINE)
    assert len(roots) == 2, done.stdout
    tickets, review = (DemoRun(Path(os.path.join(REPOSITORY, root))) for root in roots)
    yield Demo(done.stdout, pipeline, tickets, review)
    for run in (tickets, review):
        shutil.rmtree(run.root)
