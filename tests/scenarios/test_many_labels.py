"""A run with 300 labels: Ray, a Prefect flow, Arrow files; only the engine is a stand-in."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from tests.many_labels import many_coded_model
from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand, write_job

pytestmark = [pytest.mark.processes, pytest.mark.prove]

TICKETS = REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl"


def test_each_document_has_one_row_of_three_requests_and_the_page_is_made(
    pipeline: PipelineCommand, tmp_path: Path
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(TICKETS.read_text(encoding="utf-8").splitlines(keepends=True)[:60]), encoding="utf-8")
    many = many_coded_model(tmp_path / "many")
    job = write_job(
        tmp_path / "job.yaml",
        input=str(few),
        output=str(tmp_path / "results"),
        model={"source": str(many), "engine": {"max_model_len": 8_192}},
        labels={f"topic {number}": None for number in range(300)},
        quality="off",
        escalation="off",
        evaluation=None,
    )
    outcome = pipeline.run_json("submit", job, "--run-id", "many")
    assert outcome["state"] == "complete"
    rows = dataset.dataset(outcome["summary"]["results"]).to_table().to_pylist()
    assert len(rows) == 60 and {row["output_tokens"] for row in rows} == {3}
    assert any(int(row["answer"].removeprefix("topic ")) >= 128 for row in rows)
    assert (Path(outcome["root"]) / "report.html").is_file()

    too_many = write_job(tmp_path / "too_many.yaml", input=str(few), output=str(tmp_path / "results"), model="starter")
    too_many.write_text(
        too_many.read_text().replace("labels:", "labels:\n" + "".join(f"  topic {n}: null\n" for n in range(300)), 1)
    )
    refused = pipeline.run("submit", too_many)
    assert refused.returncode == 2 and "has one-token codes for 10 only" in refused.stderr
