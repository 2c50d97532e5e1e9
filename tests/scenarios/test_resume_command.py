"""`pipeline submit --since-last` and `pipeline resume` without a Prefect server: by hand, or by the system's cron."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.dataset as dataset
import pytest

from tests.flows.service.series_case import drop, tickets_job, write_job
from tests.scenarios.pipeline_command import PipelineCommand

pytestmark = pytest.mark.processes


def documents(outcome: Any) -> list[str]:
    rows = dataset.dataset(outcome["summary"]["results"]).to_table()
    assert len(set(rows["item_id"].to_pylist())) == rows.num_rows
    return sorted({Path(uri).stem for uri in rows["document_uri"].to_pylist()})


def test_each_submit_goes_one_run_further(pipeline: PipelineCommand, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", tickets_job(tmp_path))
    since_last = ("submit", job, "--since-last")
    drop(tmp_path, "a")
    assert documents(pipeline.run_json(*since_last)) == ["a"]

    nothing = pipeline.run(*since_last, "--json")
    assert nothing.returncode == 0
    assert json.loads(nothing.stdout) == {"run_id": None, "root": None, "state": "nothing new", "summary": None}
    assert f"nothing in '{tmp_path / 'inbox'}' is new or changed since the last run" in nothing.stderr

    drop(tmp_path, "b"), drop(tmp_path, "late", modified_at=10**9)
    assert documents(pipeline.run_json(*since_last)) == ["b", "late"]
    assert len(list((tmp_path / "results").glob("run_*"))) == 2


def test_killed_it_goes_on_with_the_files_it_had(pipeline: PipelineCommand, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", tickets_job(tmp_path))
    results = tmp_path / "results"
    drop(tmp_path, "many", rows=1_500)
    pipeline.run_and_kill(
        "submit", job, "--since-last", when=lambda: any(results.glob("run_*/escalations/*/submitted-*"))
    )
    (run,) = results.glob("run_*")
    drop(tmp_path, "b")

    outcome = pipeline.run_json("resume", run.name)
    assert outcome["run_id"] == run.name
    assert documents(outcome) == ["many"]
    again = pipeline.run_json("resume", run)
    assert again["summary"] == outcome["summary"], "a complete run is left as it is"
    assert documents(pipeline.run_json("submit", job, "--since-last")) == ["b"]


def test_wrong_use_is_refused(pipeline: PipelineCommand, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", tickets_job(tmp_path))
    both = pipeline.run("submit", job, "--since-last", "--run-id", "mine")
    assert both.returncode == 2
    assert "a series names its runs itself; leave one of the two out" in both.stderr
    unknown = pipeline.run("resume", "no-such-run")
    assert unknown.returncode == 2
    assert "no run 'no-such-run' was started on this machine; give its folder or s3:// URI" in unknown.stderr
    neither = pipeline.run("deploy", job)
    assert neither.returncode == 2
    assert "say when the job is to run: --cron, --watch, or both" in neither.stderr
