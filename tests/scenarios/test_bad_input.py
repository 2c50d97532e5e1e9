"""Broken input through the whole pipeline: one failed row each, the good rows scored, and refused jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from flows.submit import begin_job
from pipelines.errors import JobError, StoreError
from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand, write_job

BROKEN = REPOSITORY / "sample_data/broken"

EXPECTED_FAILURES = {
    "blank.txt": "blank.txt: holds no text; send it again or remove it",
    "broken.eml": "broken.eml: mail has no text body; export it again or remove it",
    "twice-1": f"{BROKEN}/duplicate-ids.jsonl:3: id 'twice-1' was there before; give each document its own id",
    "empty.txt": "empty.txt: is empty; send it again or remove it",
    "half-line.jsonl:3": "half-line.jsonl:3: not valid JSON (cut off at column 218?); mend or remove the line",
    "missing-column.csv": "missing-column.csv: no column 'text' (there are 'id', 'channel', 'received_at'); "
    "name the right one in columns.text",
    "field-3": "missing-field.jsonl:3: no field 'text'; add it, or name the right one in columns.text",
    "not-parquet.parquet": "not-parquet.parquet: not a Parquet file; rename it or write it again",
    "oversize.txt": "oversize.txt: document is 2000000 bytes (limits.max_document_bytes is 1000000); "
    "split it or raise the limit",
    "ragged.csv:4": "ragged.csv:4: row has 6 fields where the header has 2; quote fields that hold delimiters, "
    "or mend the row",
    "truncated.jsonl.gz:2": "truncated.jsonl.gz:2: compressed data is cut off or damaged from here on; "
    "send the file again",
    "truncated.parquet": "truncated.parquet: Parquet file is cut off or damaged; write it again",
    "type-3a": "wrong-type.jsonl:3: 'text' is a number, not a string; quote it or remove the row",
    "type-3b": "wrong-type.jsonl:4: 'text' is null; fill it in or remove the row",
}

EXPECTED_NOTES = {
    "utf8-3": "not UTF-8 at byte 72 of the line and 1 more: read as U+FFFD",
    "not-utf8.txt": "not UTF-8 at byte 5 of the file and 6 more: read as U+FFFD",
}


@pytest.mark.processes
def test_each_broken_input_is_one_failed_row_and_the_good_rows_are_scored(
    pipeline: PipelineCommand, tmp_path: Path
) -> None:
    long_document = tmp_path / "input" / "long.txt"
    long_document.parent.mkdir()
    for path in BROKEN.iterdir():
        if path.name != "README.md":
            shutil.copy(path, tmp_path / "input")
    long_document.write_text("The console is down for all of us since nine. " * 900)
    job = write_job(
        tmp_path / "job.yaml",
        input=str(tmp_path / "input"),
        output=str(tmp_path / "results"),
        escalation="off",
        evaluation=None,
    )
    outcome = pipeline.run_json("submit", job)
    rows = dataset.dataset(outcome["summary"]["results"]).to_table().to_pylist()

    failed = [row for row in rows if row["route"] == "failed"]
    good = [row for row in rows if row["route"] != "failed"]
    reasons = {row["document_id"]: row["reason"].replace(str(tmp_path / "input"), str(BROKEN)) for row in failed}
    assert len(failed) == len(EXPECTED_FAILURES)
    assert reasons == EXPECTED_FAILURES
    assert len(good) == 28  # 25 good rows beside the broken ones, two with bad bytes, and the long document
    # Some of the good rows have the same text: the engine has read it once.
    assert all(row["raw_prob"] is not None for row in good)
    assert all((row["gpu_seconds"] > 0) is (row["duplicate_of"] is None) for row in good)
    assert all(row["cost_usd"] == 0 and row["answer"] is None for row in failed)
    (cut,) = [row for row in good if row["document_id"] == "long.txt"]
    assert "cut: the engine read the first" in cut["reason"]
    noted = {row["document_id"]: row["reason"] for row in good if row["document_id"] in EXPECTED_NOTES}
    assert {name: reason for name, reason in noted.items() if EXPECTED_NOTES[name] in reason} == noted
    assert noted.keys() == EXPECTED_NOTES.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"output": "/no/such/folder/results"},
            "output: no folder '/no/such/folder' to make 'results' in; create it or mend the path",
        ),
        (
            {"output": "/proc/self"},
            "output: '/proc/self' cannot be written by this user; choose another or change its permissions",
        ),
        ({"output": "README.md"}, "output: 'README.md' is a file, not a folder; choose another"),
        (
            {"model": "qwen-9000"},
            "model: 'qwen-9000' is not in the catalogue, which `pipeline models` lists; "
            "did you mean 'qwen3.5-9b'; or give "
            "{source: <Hugging Face id>}",
        ),
        (
            {"labels": {"billing": None, "refund": None}},
            "gold.csv:3: label 'feature_request' is not one of the job's labels; mend the row or add the label",
        ),
        (
            {"input": "/no/such/input"},
            "input: nothing found at '/no/such/input'; give a file, a folder, a glob or an s3:// prefix",
        ),
        (
            {"escalation": {"model": "claude-haiku-5-5"}},
            "escalation.provider: `anthropic` needs ANTHROPIC_API_KEY in the environment; set it, or use "
            "`--provider simulation` (answers from gold labels), or `escalation: off`",
        ),
    ],
)
def test_a_bad_job_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(JobError) as refused:
        begin_job(
            write_job(tmp_path / "job.yaml", **({"output": str(tmp_path / "results")} | changes)), {}, None, print
        )
    assert message in str(refused.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.processes
def test_the_command_reports_several_missing_things_together(pipeline: PipelineCommand, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", model="qwen-9000", output="/no/such/folder/results")
    refused = pipeline.run("submit", job)
    assert refused.returncode == 2
    assert "2 problems in the job" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_store_that_cannot_be_written_stops_the_run_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "taken").write_text("a file where the run's folder should be")
    with pytest.raises(StoreError, match=f"cannot open the store '{tmp_path}/results/taken': File exists"):
        begin_job(write_job(tmp_path / "job.yaml", output=str(tmp_path / "results")), {}, "taken", print)


@pytest.mark.processes
def test_an_unknown_run_is_named(pipeline: PipelineCommand) -> None:
    missing = pipeline.run("status", "run_nothing")
    assert missing.returncode == 2
    assert "no run 'run_nothing' was started on this machine; give its folder or s3:// URI" in missing.stderr
