"""The package as `pip install .` leaves it: it works from any folder, beside a user's own `flows/` and `pipelines/`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scenarios.prefect_server import prepare_database

pytestmark = pytest.mark.prove

REPOSITORY = Path(__file__).resolve().parents[1]
JOB = {
    "name": "mine",
    "task": "classification",
    "input": "documents.jsonl",
    "output": "out/",
    "model": "off",
    "labels": {"refund": None, "outage": None},
    "escalation": {"provider": "simulation", "model": "claude-haiku-5-5"},
    "evaluation": {"gold_column": "label"},
    "budget_usd": "1",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with ours in it, built from the files that a build may take."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("pipelines", "workers", "flows", "infra"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "wheels", "."]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (source / "wheels").iterdir()
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder, whose own packages have the names of ours."""
    for name in ("flows", "pipelines", "workers", "infra"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('this one belongs to the user')")
    rows = [{"text": "I was charged twice.", "label": "refund"}, {"text": "All is down.", "label": "outage"}]
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare_database(tmp_path / "prefect")
    return tmp_path


def pipeline(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as an installer writes it; the working folder is not on its path."""
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin" / "pipeline"
    command.write_text("import sys\nfrom flows.cli import app\nsys.exit(app())\n")
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    private = {"SLUICE_STATE_DIR": str(folder / "state"), "PREFECT_HOME": str(folder / "prefect")}
    # Found before the checkout, which is installed in this environment as well, but editable.
    return subprocess.run(
        [sys.executable, command, *arguments],
        cwd=folder,
        env=keep | private | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def write_job(folder: Path, **changes: Any) -> None:
    (folder / "job.yaml").write_text(yaml.safe_dump(JOB | changes))


def test_a_run_is_done_beside_packages_of_the_same_names(site: Path, folder: Path) -> None:
    write_job(folder)
    done = pipeline(site, folder, "submit", "job.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["routes"]["escalated"]["items"] == 2


def test_the_absence_of_the_sample_models_is_told(site: Path, folder: Path) -> None:
    write_job(folder, model="starter")
    refused = pipeline(site, folder, "submit", "job.yaml")
    assert refused.returncode == 2
    assert "'starter' is a sample model, which comes with Sluice's source" in refused.stderr
