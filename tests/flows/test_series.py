"""The chain of runs of one job: each file version in one run, one run at a time, whatever is killed or comes twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from flows import series as series_module
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, run_sources
from flows.series import ClaimedRun, Series
from pipelines.documents.sources.sources import list_sources
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.settings import settings
from pipelines.store import layout
from tests.flows.service.series_case import complete, drop, tickets_job
from tests.s3_fixtures import Bucket


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def claim(job: Job) -> ClaimedRun | None:
    return Series(job).claim_next(list_sources(job.input))


def files_of(run: Run) -> list[str]:
    return [source.path for source in run_sources(run)]


def next_files(job: Job) -> list[str]:
    """Claim the next run, call it complete, and say what it would have read."""
    claimed = claim(job)
    if claimed is None:
        return []
    assert claimed.is_new
    complete(claimed.run.store.root)
    return files_of(claimed.run)


def test_each_run_takes_what_is_new_changed_or_late(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a"), drop(tmp_path, "b")
    assert next_files(job) == ["a.jsonl", "b.jsonl"]
    assert next_files(job) == []

    drop(tmp_path, "a", rows=4), drop(tmp_path, "c"), drop(tmp_path, "late", modified_at=1_000_000_000)
    (tmp_path / "inbox" / "b.jsonl").unlink()
    assert next_files(job) == ["a.jsonl", "c.jsonl", "late.jsonl"]
    assert next_files(job) == []


def test_nothing_new_leaves_nothing_behind(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    next_files(job)
    assert claim(job) is None
    before = sorted((tmp_path / "results").rglob("*"))
    assert claim(job) is None
    assert sorted((tmp_path / "results").rglob("*")) == before


def test_a_run_reads_the_files_it_was_claimed_with(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    claimed = claim(job)
    assert claimed
    drop(tmp_path, "b")
    assert files_of(claimed.run) == ["a.jsonl"]
    assert claimed.run.record.input_files == 1


def test_an_unfinished_run_comes_first(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    assert Series(job).unfinished() is None
    drop(tmp_path, "a")
    claimed = claim(job)
    assert claimed
    drop(tmp_path, "b")
    unfinished = Series(job).unfinished()
    assert unfinished and unfinished.run_id == claimed.run.run_id
    complete(unfinished.store.root)
    assert Series(job).unfinished() is None
    assert next_files(job) == ["b.jsonl"]


@pytest.mark.parametrize("kept", [(), (layout.INPUT,), (layout.INPUT, layout.JOB)])
def test_killed_between_claim_and_record_the_same_run_goes_on(tmp_path: Path, kept: tuple[str, ...]) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    claimed = claim(job)
    assert claimed
    root = Path(claimed.run.store.root)
    for path in root.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    drop(tmp_path, "b")

    edited = tickets_job(tmp_path, budget_usd="7")
    unfinished = Series(edited).unfinished()
    assert unfinished and unfinished.run_id == claimed.run.run_id
    assert files_of(unfinished) == ["a.jsonl"]
    assert unfinished.job.budget_usd == (5 if layout.JOB in kept else 7), "a job that was committed stands"


def test_a_run_goes_on_with_the_job_it_was_begun_with(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    claim(job)
    unfinished = Series(tickets_job(tmp_path, budget_usd="7")).unfinished()
    assert unfinished and unfinished.job.budget_usd == 5


def test_of_many_schedulers_at_once_one_claims(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    together = Barrier(8)

    def scheduler(number: int) -> ClaimedRun:
        sources = list_sources(job.input)
        together.wait()
        claimed = Series(job).claim_next(sources)
        assert claimed
        return claimed

    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(scheduler, range(8)))
    assert [claimed.is_new for claimed in claims].count(True) == 1
    assert len({claimed.run.run_id for claimed in claims}) == 1
    assert len(list((tmp_path / "results").glob("*/run.json"))) == 1


def test_while_a_run_is_unfinished_no_other_is_claimed(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    first = claim(job)
    drop(tmp_path, "b")
    second = claim(job)
    assert first and second and not second.is_new
    assert second.run.run_id == first.run.run_id


def test_a_stale_listing_takes_nothing_twice(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    stale = list_sources(job.input)
    drop(tmp_path, "b")
    assert next_files(job) == ["a.jsonl", "b.jsonl"]
    assert Series(job).claim_next(stale) is None


def test_what_is_taken_is_merged_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_module, "_LISTS_BETWEEN_MERGES", 3)
    job = tickets_job(tmp_path)
    for number in range(8):
        drop(tmp_path, f"file-{number}")
        assert next_files(job) == [f"file-{number}.jsonl"]
    assert next_files(job) == []
    chain = tmp_path / "results/_series/tickets"
    merged = sorted(path.name for path in (chain / "taken").iterdir())
    assert merged == ["0000003.arrow", "0000006.arrow"]
    for claimed in list((chain / "files").iterdir()):  # lists that a merge holds are not read again
        if claimed.stat().st_mtime_ns < (chain / "taken" / merged[-1]).stat().st_mtime_ns:
            claimed.unlink()
    assert next_files(job) == []


def test_a_run_seen_complete_stays_so_when_its_folder_is_cleared_away(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    claimed = claim(job)
    assert claimed
    complete(claimed.run.store.root)
    assert Series(job).unfinished() is None
    shutil.rmtree(claimed.run.store.root)
    assert Series(job).unfinished() is None
    assert next_files(job) == []


def test_a_run_that_cannot_go_on_says_how_to_give_it_up(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(Path(__file__).parents[2] / "sample_data/starter_model", model)
    job = tickets_job(tmp_path, model={"source": str(model)}, quality={"raw_threshold": 0.9})
    drop(tmp_path, "a")
    claimed = claim(job)
    assert claimed
    shutil.rmtree(model)
    with pytest.raises(JobError) as caught:
        Series(job).unfinished()
    claim_file = tmp_path / "results/_series/tickets/runs/0000001.json"
    assert caught.value.problems == [
        f"model: no folder '{model}'; mend model.source",
        f"run {claimed.run.run_id} must be complete before its series goes on; to give it up, delete '{claim_file}': "
        "its files are then new again",
    ]
    claim_file.unlink()
    again = claim(tickets_job(tmp_path))
    assert again and again.is_new and again.run.run_id != claimed.run.run_id
    assert files_of(again.run) == ["a.jsonl"]


def test_series_of_other_jobs_know_nothing_of_each_other(tmp_path: Path) -> None:
    job, other = tickets_job(tmp_path), tickets_job(tmp_path, name="others")
    drop(tmp_path, "a")
    assert next_files(job) == next_files(other) == ["a.jsonl"]


def test_an_inbox_may_be_empty_but_must_be_there(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    assert check_surroundings(job, may_be_empty=True) == []
    with pytest.raises(JobError, match="nothing found"):
        check_surroundings(job)
    with pytest.raises(JobError, match="nothing found"):
        check_surroundings(tickets_job(tmp_path, input=str(tmp_path / "inbxo")), may_be_empty=True)
    assert check_surroundings(tickets_job(tmp_path, input=str(tmp_path / "inbox/*.jsonl")), may_be_empty=True) == []


def test_an_input_that_moved_is_read_where_it_is_now(tmp_path: Path) -> None:
    job = tickets_job(tmp_path)
    drop(tmp_path, "a")
    next_files(job)
    shutil.copytree(tmp_path / "inbox", tmp_path / "moved")  # the same names, sizes and dates
    claimed = claim(tickets_job(tmp_path, input=str(tmp_path / "moved")))
    assert claimed and claimed.is_new
    assert [source.uri for source in run_sources(claimed.run)] == [str(tmp_path / "moved" / "a.jsonl")]


def test_on_s3_a_version_is_known_by_its_etag(s3: Bucket, tmp_path: Path) -> None:
    job = tickets_job(tmp_path, input=f"{s3.uri}/inbox/", output=f"{s3.uri}/results")
    s3.put("inbox/a.jsonl", b'{"text": "one", "label": "billing"}\n')
    s3.put("inbox/b.jsonl", b'{"text": "two", "label": "billing"}\n')
    assert next_files(job) == ["a.jsonl", "b.jsonl"]
    s3.put("inbox/a.jsonl", b'{"text": "one", "label": "billing"}\n')  # sent again, the same
    s3.put("inbox/b.jsonl", b'{"text": "too", "label": "billing"}\n')  # of the same size
    assert next_files(job) == ["b.jsonl"]
    assert next_files(job) == []
    chain = sorted(key for key in s3.all_keys() if "/_series/tickets/runs/" in key)
    assert chain == [f"results/_series/tickets/runs/{number:07d}.json" for number in (1, 2)]
