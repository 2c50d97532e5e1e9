"""A run id is the name of one folder below the output, from wherever it comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.inspect import run_status, run_summary
from flows.preflight.surroundings import check_surroundings
from flows.run import open_run, open_store, prepare_run
from flows.service.scheduled import take_new_files
from flows.submit import begin_job
from pipelines.errors import JobError, RunNotFoundError, StoreError
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from pipelines.people.waiting import open_asked
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.objects import Store
from tests.flows.drop_folder.drop_folder_case import DOCUMENT, JOB, write_job

BAD = [
    "../../x",
    "..",
    ".",
    "",
    "/tmp/x",
    "a/b",
    "a\\b",
    "a b",
    "-a",
    ".a",
    "_series",
    "a\n",
    "a\0",
    "é",
    "x" * 129,
    "%2e",
]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def job_path(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_bytes(DOCUMENT)
    return write_job(tmp_path / "job.yaml", str(tmp_path / "in" / "results"), input=str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("run_id", BAD)
def test_an_id_that_is_more_than_a_name_is_refused(tmp_path: Path, job_path: Path, run_id: str) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(JobError) as caught:
        begin_job(job_path, {}, run_id, print)
    [problem] = caught.value.problems
    assert problem.startswith(f"run id {run_id[:80]!r}: give at most 128 letters without accents, digits, '.', '_' and")
    assert list((tmp_path / "in").iterdir()) == [] and not (tmp_path / "x").exists()


@pytest.mark.parametrize("run_id", ["a", "run_tickets_0123456789ab", "2026-11-27T10.00", "x" * 128])
def test_names_are_fine(tmp_path: Path, job_path: Path, run_id: str) -> None:
    (tmp_path / "in").mkdir()
    assert begin_job(job_path, {}, run_id, print).store.root == str(tmp_path / "in" / "results" / run_id)


def test_the_id_in_a_store_of_someone_elses_is_checked_too(tmp_path: Path, job_path: Path) -> None:
    (tmp_path / "in").mkdir()
    job = load_job(job_path)
    run = prepare_run(job, check_surroundings(job), "mine")
    record = Path(run.store.root, layout.RUN)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"run_id": "../../x"}))
    with pytest.raises(JobError, match=r"run id '\.\./\.\./x'"):
        open_run(run.store.root)


def test_the_job_in_a_store_of_someone_elses_is_bounded_too(tmp_path: Path, job_path: Path) -> None:
    from tests.job.test_job_tree import BOMB

    (tmp_path / "in").mkdir()
    job = load_job(job_path)
    run = prepare_run(job, check_surroundings(job), "mine")
    Path(run.store.root, layout.JOB).write_text(BOMB)
    with pytest.raises(JobError, match=r"more than 10,000 values; this is no job"):
        open_run(run.store.root)


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "a\n", "", "é", "x" * 49])
def test_a_jobs_name_is_one_too_where_prefect_hands_it_over(name: str) -> None:
    job = JOB | {"output": "/nowhere", "name": name}
    with pytest.raises(ValidationError, match="name"):
        Job.model_validate(job)
    with pytest.raises(ValidationError, match="name"):
        take_new_files.fn(job)


@pytest.mark.parametrize("run", ["http://[::1/x", "a\0b", "/no\0where"])
def test_a_run_that_no_place_can_have_is_not_found(run: str) -> None:
    with pytest.raises(RunNotFoundError):
        open_store(run)


@pytest.mark.parametrize("record", [b"", b"not JSON", b"[1]", b"{}", b'{"run_id": 7}', b"\xff\xfe"])
def test_a_damaged_record_is_told_by_every_command_that_reads_the_run(tmp_path: Path, record: bytes) -> None:
    Store(str(tmp_path / "run")).create(layout.RUN, record)
    for read in (open_store, open_run, run_status, run_summary, open_asked):
        with pytest.raises(StoreError, match=r"run\.json' is damaged: .* Put it back from a copy, or run the job anew"):
            read(str(tmp_path / "run"))
