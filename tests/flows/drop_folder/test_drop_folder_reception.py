"""Taking one file: once per version, whoever takes it, wherever the one before was stopped."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.drop_folder.files import FileClaim
from flows.drop_folder.inbox import Inbox
from flows.drop_folder.job_rules import JobFileOptions
from flows.drop_folder.jobs import JobFinder
from flows.stages import planning
from pipelines.errors import JobError, ServiceError, StoreError
from pipelines.job.job_file import load_job
from pipelines.settings import settings
from pipelines.store.objects import Store
from tests.flows.drop_folder.drop_folder_case import (
    DOCUMENT,
    Case,
    RecordingStarter,
    job_text,
    local_case,
    s3_case,
    write_job,
)
from tests.s3_fixtures import Bucket

SEND_AGAIN = "mend this, then send the file again, or start the listener again: it looks at rejected files anew"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(params=["local", "s3"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return local_case(tmp_path) if request.param == "local" else s3_case(request.getfixturevalue("s3"), tmp_path)


def test_a_file_becomes_a_run_and_a_status_that_leads_to_it(case: Case) -> None:
    case.put(f"{case.prefix}a b+c%20é.jsonl", DOCUMENT)
    case.take("a b+c%20é.jsonl")
    [(run_id, claim_id)] = case.starter.started
    status = case.report("status", "a b+c%20é.jsonl")
    assert status["run_id"] == run_id
    assert status["run"] == f"{case.output}/{run_id}"
    assert status["page"] == "http://127.0.0.1/flow-run"
    assert status["next"] == f"pipeline status {status['run']}"
    assert status["job_file"] == str(case.job)
    assert case.lines == [f"{claim_id} started {run_id}"]
    assert Store(status["run"]).exists("run.json")


def test_the_run_holds_exactly_the_documents_of_its_file(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT + DOCUMENT.replace(b'"1"', b'"2"'))
    case.put(f"{case.prefix}b.jsonl", DOCUMENT)
    case.take("a.jsonl")
    [run] = case.starter.runs
    plan = planning.plan_documents(run, ProgressReporter(Console(file=io.StringIO())))
    assert (plan.items, plan.failed_items) == (2, 0)


def test_announced_again_nothing_happens(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    for _ in range(3):
        case.take("a.jsonl")
    assert len(case.starter.started) == len(case.lines) == 1


def test_another_version_is_another_run(case: Case) -> None:
    for body in (DOCUMENT, DOCUMENT * 2):
        case.put(f"{case.prefix}a.jsonl", body)
        case.take("a.jsonl")
    first, second = case.starter.started
    assert first[0] != second[0]
    assert case.report("status", "a.jsonl")["run_id"] == second[0]


def test_two_listeners_with_other_default_jobs_start_one_run(case: Case, tmp_path: Path) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    other_job = write_job(tmp_path / "other.yaml", case.output, name="other")
    broken = RecordingStarter(failures=1)
    with pytest.raises(ServiceError, match="Prefect cannot be reached"):
        case.reception(starter=broken).take(f"{case.prefix}a.jsonl")
    case.reception(job=other_job).take(f"{case.prefix}a.jsonl")
    assert [run.job.name for run in case.starter.runs] == ["dropped"], "the first claim decides"


@pytest.mark.parametrize("method", ["look", "claim", "make_claim", "is_started", "mark_started"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_step_is_continued_by_another_listener(
    case: Case, monkeypatch: pytest.MonkeyPatch, method: str, moment: str
) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)

    def crash(inbox: Inbox, *arguments: Any) -> None:
        if moment == "after":
            real(inbox, *arguments)
        raise KeyboardInterrupt

    real = getattr(Inbox, method)
    with monkeypatch.context() as patch:
        patch.setattr(Inbox, method, crash)
        with pytest.raises(KeyboardInterrupt):
            case.take("a.jsonl")
    case.take("a.jsonl")
    assert len(set(case.starter.started)) == 1, "the same run under the same idempotency key"
    assert case.reports("status") == [f"status/{case.prefix}a.jsonl.json"]
    assert len(list(Store(case.output).list(case.starter.started[0][0]))) == 3, "job.yaml, run.json, input.arrow"


def test_a_file_that_is_gone_or_a_folder_is_nothing(case: Case) -> None:
    case.put(f"{case.prefix}sub/a.jsonl", DOCUMENT)
    case.take("gone.jsonl")
    case.take("sub")
    assert (case.starter.started, case.lines, case.reports("status"), case.reports("rejected")) == ([], [], [], [])


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        ("empty.txt", b"", "is empty; send it again with its content"),
        (
            "scan.tiff",
            b"II*",
            "is of a type that cannot be read; supported: .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt, .md, "
            ".html, .htm, .eml (.gz, .gzip, .zst, .zstd)",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_rejected_with_the_reason(
    case: Case, name: str, body: bytes, problem: str
) -> None:
    case.put(case.prefix + name, body)
    case.take(name)
    report = case.report("rejected", name)
    uri = f"{case.location.rstrip('/')}/{name}"
    assert (report["file"], report["problems"], report["next"]) == (uri, [f"{uri} {problem}"], SEND_AGAIN)
    assert case.starter.started == []
    assert [line.split()[1] for line in case.lines] == ["rejected"]


def test_the_nearest_job_file_is_done(case: Case) -> None:
    case.put(f"{case.prefix}sub/a.jsonl", DOCUMENT)
    for number, path in enumerate(["folder", "sub/folder", "sub/a", "sub/a.jsonl"]):
        case.put(f"{case.prefix}{path}.job.yaml", job_text(case.output, name=f"job-{number}").encode())
        case.put(f"{case.prefix}sub/a.jsonl", DOCUMENT * (number + 1))
        case.take("sub/a.jsonl")
        assert case.starter.runs[-1].job.name == f"job-{number}"
        assert case.report("status", "sub/a.jsonl")["job_file"].endswith(f"/{path}.job.yaml")


def test_a_bad_job_file_rejects_until_it_is_mended(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    case.put(f"{case.prefix}a.job.yaml", b"name: A\ntask: classification\n")
    case.take("a.jsonl")
    report = case.report("rejected", "a.jsonl")
    job_file = f"{case.location.rstrip('/')}/a.job.yaml"
    wanted = f"{job_file}: line 1: name: string should match pattern '^[a-z0-9][a-z0-9-]{{0,47}}$'"
    assert wanted in report["problems"]
    case.put(f"{case.prefix}a.job.yaml", job_text(case.output).encode())
    case.take("a.jsonl")
    assert len(case.starter.started) == 1
    assert case.reports("rejected") == [], "what holds no longer is not left lying about"


def test_problems_name_the_job_file_and_no_copy_of_it(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    case.put(f"{case.prefix}folder.job.yaml", b"name: [")
    case.take("a.jsonl")
    [problem] = case.report("rejected", "a.jsonl")["problems"]
    assert problem.startswith(f"{case.location.rstrip('/')}/folder.job.yaml:1: not YAML: ")


def test_a_dropped_job_may_not_write_where_each_listener_has_another_folder(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    case.put(f"{case.prefix}folder.job.yaml", job_text("results/").encode())
    case.take("a.jsonl")
    wanted = "an s3:// URI" if case.prefix else "an absolute path"
    must_be = f"is not {wanted}, which it must be in a job file beside dropped files"
    job_file = f"{case.location.rstrip('/')}/folder.job.yaml"
    assert case.report("rejected", "a.jsonl")["problems"] == [f"{job_file}: output: 'results/' {must_be}"]


def test_a_version_replaced_while_it_is_taken_is_left_to_the_next_try(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    real = Inbox.look
    looks = iter([None, lambda: case.put(f"{case.prefix}a.jsonl", DOCUMENT * 2)])

    def look(inbox: Inbox, key: str) -> Any:
        if change := next(looks, None):
            change()
        return real(inbox, key)

    monkeypatch.setattr(Inbox, "look", look)
    with pytest.raises(ServiceError, match="was replaced while it was taken; the new version is taken next time"):
        case.take("a.jsonl")
    assert case.starter.started == []
    case.take("a.jsonl")
    assert [run.record.input_bytes for run in case.starter.runs] == [2 * len(DOCUMENT)]


def test_the_same_content_sent_again_is_another_version_where_versions_are_kept(s3: Bucket, tmp_path: Path) -> None:
    case = s3_case(s3, tmp_path)
    s3.client().put_bucket_versioning(Bucket=s3.name, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        s3.put("in/box/a.jsonl", DOCUMENT)
        case.take("a.jsonl")
        case.take("a.jsonl")
    first, second = case.starter.started
    assert first[0] != second[0]
    assert list(Inbox(case.location).started()) == [first[1].split("-")[0]] * 2


def test_the_claim_survives_being_read_back(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    file = Inbox(case.location).look(f"{case.prefix}a.jsonl")
    assert file is not None
    claim = FileClaim.on(file, load_job(case.job), "job.yaml")
    assert Inbox(case.location).make_claim(file, claim) == claim == Inbox(case.location).claim(file)


def test_listing_leaves_out_what_is_no_input(case: Case) -> None:
    names = ["a.jsonl", "sub/b.csv", "c.jsonl.part", "x.job.yaml", "_SUCCESS", ".hidden/d.txt", "empty.txt"]
    for name in names:
        case.put(case.prefix + name, b"" if name == "empty.txt" else DOCUMENT)
    case.take("a.jsonl")
    case.take("empty.txt")
    found = {file.key.removeprefix(case.prefix) for file in Inbox(case.location).files()}
    assert found == {"a.jsonl", "sub/b.csv", "empty.txt"}


def test_a_listing_and_a_look_name_a_version_alike(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    inbox = Inbox(case.location)
    [listed] = inbox.files()
    looked = inbox.look(f"{case.prefix}a.jsonl")
    assert looked is not None and looked == listed and looked.claim_id == listed.claim_id


def test_wrong_places_are_refused(tmp_path: Path, s3: Bucket) -> None:
    refused = {
        str(tmp_path / "nowhere"): f"no folder '{tmp_path}/nowhere'; create it or mend the path",
        "ftp://a/b": "'ftp://a/b' is of an unknown kind; give a local folder or an s3:// prefix",
        "s3://a/status": "'s3://a/status' is where a listener writes to; name the folder with the files",
    }
    for place, problem in refused.items():
        with pytest.raises(JobError) as caught:
            Inbox(place)
        assert caught.value.problems == [f"FOLDER: {problem}"]
    with pytest.raises(StoreError, match="there is no bucket 'no-such-bucket'; create it or mend its name"):
        Inbox("s3://no-such-bucket/in").check()


def test_the_default_job_is_checked_before_the_first_file(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", str(tmp_path / "no" / "such" / "folder"))
    with pytest.raises(JobError) as caught:
        JobFinder(Inbox(str(tmp_path)), job)
    assert caught.value.problems == [
        f"output: no folder '{tmp_path}/no/such' to make 'folder' in; create it or mend the path"
    ]


def test_results_may_not_be_written_into_the_drop_folder(case: Case, tmp_path: Path) -> None:
    inside = f"{case.location.rstrip('/')}/results"
    job = write_job(tmp_path / "inside.yaml", inside)
    problem = f"output: '{inside}' lies in the drop folder, so that each run would start others; choose another place"
    with pytest.raises(JobError) as caught:
        case.reception(job=job)
    assert caught.value.problems == [f"{job}: {problem}"]
    case.bounds = JobFileOptions(outputs_below=inside)
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    case.put(f"{case.prefix}folder.job.yaml", job_text(inside).encode())
    case.take("a.jsonl")
    job_file = f"{case.location.rstrip('/')}/folder.job.yaml"
    assert case.report("rejected", "a.jsonl")["problems"] == [f"{job_file}: {problem}"]


def test_a_job_that_cannot_be_prepared_is_rejected_before_it_is_claimed(case: Case) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    text = job_text(case.output, model="starter", quality={"raw_threshold": 0.9}, instructions="word " * 5_000)
    case.put(f"{case.prefix}folder.job.yaml", text.encode())
    case.take("a.jsonl")
    [problem] = case.report("rejected", "a.jsonl")["problems"]
    assert "tokens, which leaves too little for a document; shorten them" in problem
    assert not [key for key in case.all_keys() if "/_claims/" in key]
