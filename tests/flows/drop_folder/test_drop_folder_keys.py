"""Keys on S3 that no request of ours can carry: whoever may put an object there stops nobody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.drop_folder.inbox import Inbox
from tests.flows.drop_folder.drop_folder_case import DOCUMENT, Case, s3_case
from tests.s3_fixtures import Bucket

HOSTILE = ("x//y.jsonl", "a\x1b[2Jb.jsonl", "a\nb.jsonl", "a\x7f.jsonl")


@pytest.fixture
def case(s3: Bucket, tmp_path: Path) -> Iterator[Case]:
    yield s3_case(s3, tmp_path)


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_rejected_and_the_file_beside_it_taken(case: Case, name: str) -> None:
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    case.put(f"{case.prefix}{name}", DOCUMENT)
    case.put(f"{case.prefix}z.jsonl", DOCUMENT)
    keys = [file.key for file in Inbox(case.location).files()]
    assert sorted(keys) == sorted(f"{case.prefix}{each}" for each in ("a.jsonl", name, "z.jsonl"))
    for key in keys:
        case.reception().take(key)
    assert [run.job.input.rsplit("/", 1)[1] for run in case.starter.runs] == ["a.jsonl", "z.jsonl"]
    [report] = [key for key in case.all_keys() if key.startswith("rejected/")]
    [problem] = json.loads(case.get(report))["problems"]
    assert problem.endswith("rename it") and "\x1b" not in problem and "\n" not in problem


def test_one_that_went_meanwhile_is_nothing(case: Case) -> None:
    case.reception().take(f"{case.prefix}x//y.jsonl")
    assert not case.starter.started and not case.lines


def test_what_a_dropper_writes_among_the_listeners_notes_is_passed_over(s3: Bucket, tmp_path: Path) -> None:
    case = s3_case(s3, tmp_path)
    case.put(f"{case.prefix}a.jsonl", DOCUMENT)
    case.take("a.jsonl")
    case.put("status/_started/x//y.json", b"{}")
    assert len(list(Inbox(case.location).started())) == 2
