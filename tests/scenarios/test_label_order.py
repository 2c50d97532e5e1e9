"""Runs whose labels are read in two orders: Ray, a Prefect flow, Arrow files; only the engine is a stand-in."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as dataset
import pytest
import yaml

from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.store.objects import Store
from tests.scenarios.pipeline_command import REPOSITORY, PipelineCommand, write_job

pytestmark = pytest.mark.processes

TICKETS = REPOSITORY / "sample_data/tickets/heldout/tickets.jsonl"
COMPUTE = {"device_hour_usd": 0.05, "engines": 1}


def _parts(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / "predictions").glob("*.arrow")}


def _predictions(root: Path) -> pa.Table:
    store, parts = Store(str(root)), range(len(_parts(root)))
    return pa.concat_tables(predictions_of(read_scored_part(store, shard)) for shard in parts)


def test_averaged_every_item_is_asked_twice_and_its_row_says_what_both_cost(
    pipeline: PipelineCommand, tmp_path: Path
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(TICKETS.read_text(encoding="utf-8").splitlines(keepends=True)[:60]), encoding="utf-8")
    places = {"input": str(few), "output": str(tmp_path / "results")}
    job = write_job(
        tmp_path / "job.yaml", **places, label_order="averaged", compute=COMPUTE, quality="off", escalation="off"
    )
    outcome = pipeline.run_json("submit", job, "--run-id", "averaged")
    assert outcome["state"] == "complete"
    rows = dataset.dataset(outcome["summary"]["results"]).to_table()
    predicted = _predictions(Path(outcome["root"]))
    assert rows.num_rows == predicted.num_rows == 60
    assert set(predicted["output_tokens"].to_pylist()) == {2}
    assert sum(rows["cost_usd"].to_pylist(), Decimal(0)) == Decimal(outcome["summary"]["cost_usd"]) > 0
    assert set(rows["route"].to_pylist()) == {"accepted"}
    assert rows["confidence"].null_count == 60, "the model's own calibration is for the given order"

    names = list(yaml.safe_load(job.read_text())["labels"])
    by_item = {row["item_id"]: row for row in predicted.to_pylist()}
    for row in rows.to_pylist():
        prediction = by_item[row["item_id"]]
        probabilities = np.exp(np.array(prediction["label_logprobs"], np.float64))
        assert row["answer"] == names[int(probabilities.argmax())], "predictions are in the order of the job's labels"
        assert row["raw_prob"] == pytest.approx(probabilities.max() / probabilities.sum())
        assert row["label_mass"] == pytest.approx(min(probabilities.sum(), 1))
        assert row["input_tokens"] == prediction["input_tokens"]


@pytest.mark.prove
def test_seeded_and_killed_the_run_goes_on_and_keeps_what_was_scored(pipeline: PipelineCommand, tmp_path: Path) -> None:
    output = tmp_path / "results"
    job = write_job(
        tmp_path / "job.yaml", input=str(TICKETS), output=str(output), label_order="seeded", compute=COMPUTE
    )
    submit = ("submit", job, "--run-id", "seeded")
    root = output / "seeded"
    pipeline.run_and_kill(*submit, when=lambda: len(_parts(root)) >= 3)
    scored = _parts(root)

    mixed = write_job(tmp_path / "mixed.yaml", input=str(TICKETS), output=str(output), compute=COMPUTE)
    refused = pipeline.run("submit", mixed, "--run-id", "seeded")
    assert refused.returncode == 2
    assert (
        "run id 'seeded' is taken by a run with another prompt fingerprint; choose another --run-id or leave it out"
        in refused.stderr
    )

    outcome = pipeline.run_json("resume", "seeded")
    assert outcome["state"] == "complete"
    assert scored.items() <= _parts(root).items(), "no committed shard was scored again"
    rows = dataset.dataset(outcome["summary"]["results"]).to_table()
    assert rows.num_rows == 700 == len(set(rows["item_id"].to_pylist()))
    assert set(_predictions(root)["output_tokens"].to_pylist()) == {1}
