"""One bad entry in a local drop folder is rejected with its reason, and the others are taken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import LocalStore

from flows.drop_folder.inbox import Inbox
from flows.drop_folder.job_rules import JobFileOptions
from flows.drop_folder.jobs import JobFinder
from flows.drop_folder.reception import Reception
from pipelines.errors import JobError
from pipelines.settings import settings
from tests.flows.drop_folder.drop_folder_case import DOCUMENT, RecordingStarter, job_text, write_job


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "good.jsonl").write_bytes(DOCUMENT)
    return tmp_path / "inbox"


def take_all(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The names of the files that were taken, and the problem of each that was rejected."""
    job = write_job(folder.parent / "job.yaml", str(folder.parent / "results"))
    inbox, starter = Inbox(str(folder)), RecordingStarter()
    inbox.check()
    taking = Reception(inbox, JobFinder(inbox, job, JobFileOptions()), starter, lambda line: None)
    for file in list(inbox.files()):
        taking.take(file.key)
    list(inbox.started())
    reports = [json.loads(path.read_text()) for path in sorted((folder / "rejected").rglob("*.json"))]
    rejected = {os.path.basename(report["file"]): report["problems"][0] for report in reports}
    return sorted(os.path.basename(run.job.input) for run in starter.runs), rejected


def test_names_that_cannot_be_written_down_are_rejected_and_the_others_taken(folder: Path) -> None:
    for name in (b"caf\xe9.jsonl", b"a\nb.jsonl", b"\x1b[2J.jsonl", b"half.jsonl#1"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(DOCUMENT)
    taken, rejected = take_all(folder)
    assert taken == ["good.jsonl"]
    assert sorted(rejected) == ["%1B%5B2J.jsonl", "a%0Ab.jsonl", "caf%E9.jsonl", "half.jsonl#1"]
    assert all("rename it" in problem for problem in rejected.values())


def test_links_out_of_the_folder_to_nothing_or_in_a_circle_are_rejected(folder: Path) -> None:
    outside = folder.parent / "secret.jsonl"
    outside.write_bytes(DOCUMENT)
    (folder / "out.jsonl").symlink_to(outside)
    (folder / "gone.jsonl").symlink_to("nowhere")
    (folder / "circle.jsonl").symlink_to("circle.jsonl")
    (folder / "inside.jsonl").symlink_to("good.jsonl")
    taken, rejected = take_all(folder)
    assert taken == ["good.jsonl", "inside.jsonl"]
    assert sorted(rejected) == ["circle.jsonl", "gone.jsonl", "out.jsonl"]
    assert "leads out of the input folder" in rejected["out.jsonl"]


def test_a_link_put_in_a_files_place_is_not_looked_at(folder: Path) -> None:
    (folder.parent / "secret.jsonl").write_bytes(DOCUMENT)
    inbox = Inbox(str(folder))
    (file,) = inbox.files()
    (folder / "good.jsonl").unlink()
    (folder / "good.jsonl").symlink_to(folder.parent / "secret.jsonl")
    assert inbox.look(file.key) is None
    assert not inbox.contains(str(folder / "good.jsonl"))


def test_a_pipe_is_neither_taken_nor_waited_for_also_as_a_job_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jsonl")
    os.mkfifo(folder / "good.job.yaml")
    taken, rejected = take_all(folder)
    assert taken == []
    assert "good.job.yaml: cannot be read (not a regular file)" in rejected["good.jsonl"]


@pytest.mark.parametrize("is_link", [True, False])
def test_a_job_file_that_leads_out_or_is_too_large_is_refused(folder: Path, is_link: bool) -> None:
    if is_link:
        (folder.parent / "other.yaml").write_text(job_text(str(folder.parent / "results")))
        (folder / "good.job.yaml").symlink_to("../other.yaml")
    else:
        with (folder / "good.job.yaml").open("wb") as file:
            file.truncate(10**13)
    with pytest.raises(JobError, match="leads out of the drop folder" if is_link else "1,000,000 are taken"):
        Inbox(str(folder)).read("good.job.yaml")


def test_the_longest_names_are_taken_and_rejected_like_others(folder: Path) -> None:
    (folder / ("x" * 249 + ".jsonl")).write_bytes(DOCUMENT)
    (folder / ("y" * 251 + ".bin")).write_bytes(DOCUMENT)
    taken, rejected = take_all(folder)
    assert taken == ["good.jsonl", "x" * 249 + ".jsonl"]
    assert ["is of a type" in problem for problem in rejected.values()] == [True]


def test_bad_names_among_the_listeners_own_files_stop_nothing(folder: Path) -> None:
    for place in ("status/_started", "status/_claims", "rejected"):
        (folder / place).mkdir(parents=True)
        Path(os.fsdecode(os.fsencode(folder / place) + b"/caf\xe9\n.other")).write_bytes(b"{}")
    assert take_all(folder) == (["good.jsonl"], {})


def test_a_version_has_the_name_that_claims_of_earlier_versions_have(folder: Path) -> None:
    (file,) = Inbox(str(folder)).files()
    head = obstore.head(LocalStore(prefix=str(folder)), "good.jsonl")
    assert (f'"{file.e_tag}"', file.size_bytes, file.written_at) == (head["e_tag"], head["size"], head["last_modified"])
