"""Which files are taken, where their jobs may lie, and what a claim is named after."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flows.drop_folder.files import DroppedFile, is_input, job_files, problem_of

FILE = DroppedFile("in/a.jsonl", "s3://inbox/in/a.jsonl", 3, "abc", None, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("path", ["a.jsonl", "deep/er/a.csv.gz", "a b+c%20é?.txt", "status.txt", "a.unknown"])
def test_files_are_input(path: str) -> None:
    assert is_input(path)


@pytest.mark.parametrize(
    "path",
    ["", "folder/", "a.jsonl.part", "a.TMP", "a.job.yaml", "folder.job.yaml", ".DS_Store", "_SUCCESS", "x/.git/a.txt"],
)
def test_markers_jobs_uploads_and_hidden_files_are_not(path: str) -> None:
    assert not is_input(path)


def test_a_job_is_looked_for_beside_the_file_and_then_above() -> None:
    assert job_files("a/b/mails.jsonl.gz") == [
        "a/b/mails.jsonl.gz.job.yaml",
        "a/b/mails.job.yaml",
        "a/b/folder.job.yaml",
        "a/folder.job.yaml",
        "folder.job.yaml",
    ]
    assert job_files("folder.txt") == ["folder.txt.job.yaml", "folder.job.yaml"]


def test_a_claim_is_named_after_the_version_and_nothing_else() -> None:
    assert FILE.claim_id == FILE.listing_id == "drp_5c8d9e7d0629caa84834", "pinned: claims outlive releases"
    assert replace(FILE, written_at=datetime(2027, 1, 1, tzinfo=UTC)).claim_id == FILE.claim_id
    others = [replace(FILE, e_tag="abd"), replace(FILE, uri="s3://inbox/in/b.jsonl"), replace(FILE, version_id="v1")]
    assert len({FILE.claim_id, *(other.claim_id for other in others)}) == 4
    assert others[2].listing_id == FILE.listing_id, "a listing does not know version ids"


@pytest.mark.parametrize("key", ["a.jsonl", "A.JSONL", "a.csv.gz", "a.txt.zst", "a.parquet", "a.eml"])
def test_readable_types_have_no_problem(key: str) -> None:
    assert problem_of(replace(FILE, key=key)) is None


@pytest.mark.parametrize("key", ["a.docx", "a", "a.gz", "a.jsonl.bak", "a.jsonl.gz.gz"])
def test_other_types_are_told_what_can_be_read(key: str) -> None:
    assert problem_of(replace(FILE, key=key)) == (
        "is of a type that cannot be read; supported: .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt, .md, .html, "
        ".htm, .eml (.gz, .gzip, .zst, .zstd)"
    )


def test_an_empty_file_is_a_problem() -> None:
    assert problem_of(replace(FILE, size_bytes=0)) == "is empty; send it again with its content"
