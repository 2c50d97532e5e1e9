"""`make demo` given again goes on with what it began, its command being a stand-in here; and all of it, in earnest."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.demo_runs import make_demo

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout in which the clock gives another name for each run."""
    for name in ("Makefile", "requirements-cpu.lock"):
        shutil.copy(REPOSITORY / name, tmp_path)
    programs = {
        "pipeline": 'echo "$@"; exit "$(cat exit-code)"',
        "date": 'echo x >> ticks; echo "demo-$(wc -l < ticks)"',
    }
    (tmp_path / "bin").mkdir()
    for name, body in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "installed").touch()
    return tmp_path


def submitted(folder: Path, exit_code: int) -> list[str]:
    """The run ids that are submitted, where the command ends so."""
    (folder / "exit-code").write_text(str(exit_code))
    environment = {"PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(
        ["make", "demo", "BIN=bin", "INSTALLED=installed"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert (done.returncode == 0) is (exit_code == 0), done.stderr
    return [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("submit")]


def test_an_interrupted_demo_goes_on_with_the_run_that_it_began(folder: Path) -> None:
    assert submitted(folder, 130) == ["demo-1"]
    assert submitted(folder, 0) == ["demo-1", "demo-1-review"]
    assert submitted(folder, 0) == ["demo-2", "demo-2-review"], "what is complete is shown anew"


def test_a_demo_that_may_not_go_on_starts_anew_the_next_time(folder: Path) -> None:
    assert submitted(folder, 1) == ["demo-1"]
    assert submitted(folder, 2) == ["demo-1"], "refused, for instance because the code is another by now"
    assert submitted(folder, 0) == ["demo-2", "demo-2-review"]


@pytest.mark.prove
@pytest.mark.timeout(1_200)
def test_every_sample_document_goes_through_it(tmp_path: Path) -> None:
    with make_demo(tmp_path) as demo:
        for run, items, target in ((demo.tickets, 2_000, 0.9), (demo.review, 200, 0.85)):
            assert run.rows.num_rows == items == len(set(run.rows["item_id"].to_pylist()))
            assert run.summary["quality"]["agreement_lower"] >= target
            assert run.summary["accuracy"]["final"] > run.summary["accuracy"]["engine_alone"]
