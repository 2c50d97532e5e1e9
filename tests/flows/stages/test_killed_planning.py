"""A planning that was killed goes on behind what it committed: the same plan to the byte, and nothing read twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import flows.touched_input
from flows.preflight.surroundings import check_surroundings
from flows.questions.classification import LabelQuestion
from flows.run import Run, prepare_run
from flows.stages import planning
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.store import layout
from tests.faults.escalation_case import quiet

# transformers warns about itself while it loads
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_state")]
WORDS = "please look into it and tell us soon what has become of the matter thank you very much indeed " * 5
FILES, ROWS = 4, 40
CHANGES: list[dict[str, Any]] = [
    {},
    {"duplicates": "keep", "columns": {"carry": ["n"]}},
    {"limits": {"documents": 100}},
]


def write_documents(folder: Path) -> None:
    """Rows of several files, with copies, ids that were there before and rows without text; files that are one."""
    folder.mkdir()
    for file in range(FILES):
        numbers = range(file * ROWS, (file + 1) * ROWS)
        rows = [
            {
                "id": "twice" if n % 30 == 7 else f"d{n}",
                "text": None if n % 31 == 0 else f"Document {n % 70}: {WORDS}",
                "pii": n % 3 == 0,
                "n": n,
                "label": "billing",
            }
            for n in numbers
        ]
        (folder / f"{file}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "0.empty.jsonl").write_text("")
    (folder / "2.letter.txt").write_text(f"Document 3: {WORDS}")


def begin(folder: Path, documents: Path, **changes: Any) -> Run:
    fixed = {
        "name": "killed",
        "task": "classification",
        "input": str(documents),
        "output": str(folder),
        "model": "starter",
        "labels": {"billing": None, "outage": None},
        "quality": {"raw_threshold": 0.9},
        "policy": {"never_escalate": "pii"},
        "evaluation": {"gold_column": "label"},
        "escalation": {"model": "claude-haiku-4-5", "provider": "simulation"},
    }
    job = Job.model_validate(fixed | changes)
    return prepare_run(job, check_surroundings(job), "run")


def plan_objects(run: Run) -> dict[str, bytes]:
    return {key: run.store.read(key) for key in run.store.list(layout.PLAN)}


def leave_committed(whole: Run, killed: Run, shards: list[int]) -> None:
    for shard in shards:
        key = layout.plan_part(shard)
        killed.store.create(key, whole.store.read(key))


@pytest.mark.parametrize("changes", CHANGES)
def test_from_wherever_it_was_killed_it_comes_to_the_same_plan(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_documents(tmp_path / "in")
    whole = begin(tmp_path / "whole", tmp_path / "in", **changes)
    summary = planning.plan_documents(whole, quiet())
    assert summary.shards > 2
    last = summary.shards - 1
    for number, there in enumerate([[0], [0, last], list(range(last)), list(range(last + 1))]):
        killed = begin(tmp_path / f"killed-{number}", tmp_path / "in", **changes)
        leave_committed(whole, killed, there)
        told: list[tuple[int, int]] = []
        assert planning.plan_documents(killed, quiet(), lambda *each, told=told: told.append(each)) == summary
        assert plan_objects(killed) == plan_objects(whole)
        assert [shard for shard, _ in told] == list(range(summary.shards))
        assert sum(tokens for _, tokens in told) == summary.document_tokens


def test_what_is_planned_is_neither_read_nor_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.touched_input, "_HASHED_FILES", 0)  # the listing goes by times and sizes
    write_documents(tmp_path / "in")
    whole, killed = (begin(tmp_path / name, tmp_path / "in") for name in ("whole", "killed"))
    summary = planning.plan_documents(whole, quiet())
    leave_committed(whole, killed, list(range(summary.shards - 1)))
    encoded: list[str] = []
    encode = LabelQuestion.encode
    monkeypatch.setattr(LabelQuestion, "encode", lambda self, texts: encoded.extend(texts) or encode(self, texts))
    for path in sorted((tmp_path / "in").iterdir())[:-1]:
        listed = path.stat()
        path.write_text("?" * listed.st_size)  # which no reader makes a plan of
        os.utime(path, ns=(listed.st_atime_ns, listed.st_mtime_ns))
    assert planning.plan_documents(killed, quiet()) == summary
    assert plan_objects(killed) == plan_objects(whole)
    assert len(encoded) < ROWS


def test_parts_of_a_file_that_is_not_in_the_list_are_refused(tmp_path: Path) -> None:
    write_documents(tmp_path / "in")
    write_documents(tmp_path / "other")
    whole, killed = (begin(tmp_path / f"{name}-out", tmp_path / name) for name in ("in", "other"))
    planning.plan_documents(whole, quiet())
    leave_committed(whole, killed, [0])
    with pytest.raises(JobError, match="it changed while it was being planned"):
        planning.plan_documents(killed, quiet())
