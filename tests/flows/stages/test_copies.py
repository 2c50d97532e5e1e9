"""Copies of a whole run in process: planned, scored by nobody, published after their originals, and added up."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as pq
import pytest

from flows.deciding.item_by_item import decide_item_by_item
from flows.preflight.surroundings import check_surroundings
from flows.process import complete_run
from flows.run import Run, prepare_run
from flows.stages import copies, planning, publishing
from flows.stages.copies import publish_copies
from pipelines.copies import TAKEN, copy_rows
from pipelines.documents import planning as documents_planning
from pipelines.errors import InvariantError
from pipelines.escalation.ledger import Ledger
from pipelines.job.job import Job
from pipelines.report.summary import NEEDED_COLUMNS, summarize
from pipelines.results import empty_results
from pipelines.scored_parts import items_of_plan, read_copies, scored_part
from pipelines.store import layout
from pipelines.store.runs import result_parts
from pipelines.store.schemas import from_arrow, read_part, to_arrow, to_parquet
from tests.faults.escalation_case import quiet
from workers.engines.requests import ShardScores
from workers.engines.scorer import prediction_table

# transformers warns about itself while it loads
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_state")]
LABELS = ["billing", "outage"]
WORDS = "please look into it and tell us soon what has become of the matter thank you very much indeed " * 3
DOCUMENTS, TEXTS = 240, 160


def begin(folder: Path, **changes: Any) -> Run:
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "id": f"d{n}",
            "text": f"Document {n % TEXTS}: {WORDS}{' ' * (n // TEXTS)}",
            "pii": n % 3 == 0,
            "n": n,
            "label": LABELS[n % 2],
        }
        for n in range(DOCUMENTS)
    ]
    (folder / "documents.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    job = Job.model_validate(
        {
            "name": "copies",
            "task": "classification",
            "input": str(folder / "documents.jsonl"),
            "output": str(folder),
            "model": "starter",
            "labels": dict.fromkeys(LABELS),
            "columns": {"carry": ["n"]},
            "quality": {"raw_threshold": 0.9},
            "escalation": "off",
            "compute": {"device_hour_usd": "0.05"},
        }
        | changes
    )
    return prepare_run(job, check_surroundings(job), "run")


def plan_parts(run: Run) -> list[pa.Table]:
    return [from_arrow(run.store.read(key)) for key in sorted(run.store.list(layout.PLAN)) if key.endswith(".arrow")]


def copies_in(run: Run) -> list[tuple[str, str]]:
    """Each copy and its original, by the users' ids."""
    rows = [row for part in plan_parts(run) for row in part.to_pylist()]
    names = {row["item_id"]: row["document_id"] for row in rows}
    return [(row["document_id"], names[row["duplicate_of"]]) for row in rows if row["duplicate_of"]]


def score(run: Run, plan: planning.PlanSummary) -> None:
    """Made up: every other text is sure."""
    for shard, table in enumerate(plan_parts(run)):
        texts = table.filter(table["text"].is_valid())
        sure = [int(text.split(":")[0].split()[1]) % 2 == 0 for text in texts["text"].to_pylist()]
        logprobs = np.log([[0.95, 0.05] if each else [0.6, 0.4] for each in sure]).reshape(-1, 2).astype(np.float32)
        numbers = [np.full(len(texts), value, np.int64) for value in (100, 64, 1, 4_000_000)]
        items = items_of_plan(run.store.read(layout.plan_part(shard)))
        predictions = prediction_table(texts["item_id"], ShardScores(logprobs, *numbers))
        run.store.create(layout.predictions_part(shard), to_arrow(scored_part(items, predictions)))
    assert run.rule is not None
    decide_item_by_item(run, plan, run.rule)
    publishing.publish_scored(run, plan, quiet())


def rows_of(run: Run) -> list[dict[str, Any]]:
    rows = dataset.dataset(str(Path(run.store.root, "results"))).to_table().to_pylist()
    return sorted(rows, key=lambda row: int(row["document_id"][1:]))


def test_copies_over_shards_take_what_their_original_got_and_the_sums_are_those_of_the_run(tmp_path: Path) -> None:
    run = begin(tmp_path / "in")
    plan = planning.plan_documents(run, quiet())
    assert plan.shards > 1 and (plan.items, plan.scorable_items, plan.duplicate_items) == (240, 160, 80)
    score(run, plan)
    publish_copies(run, plan, quiet())
    publish_copies(run, plan, quiet())  # of a run that is resumed: each part is there once
    rows = rows_of(run)
    assert [row["document_id"] for row in rows] == [f"d{n}" for n in range(DOCUMENTS)]
    assert [row["n"] for row in rows] == list(range(DOCUMENTS))
    for original, copy in zip(rows, rows[TEXTS:], strict=False):
        assert (original["duplicate_of"], copy["duplicate_of"]) == (None, original["item_id"])
        same = ("answer", "route", "engine_answer", "raw_prob", "reason", "model", "settled_at")
        assert [original[name] for name in same] == [copy[name] for name in same]
        assert (copy["cost_usd"], copy["gpu_seconds"], copy["input_tokens"]) == (0, 0, 0)
    assert {row["route"] for row in rows} == {"accepted", "review"}

    tally = summarize((read_part(run.store.read(key), NEEDED_COLUMNS) for key in result_parts(run.store)), LABELS)
    tally.check_items(run.run_id, plan.items_sum)
    summary = tally.summary(run_id="run", results="", planned_items=plan.items, provider=None, stopped_by=None,
                            engine_held_seconds=0.0)  # fmt: skip
    assert (summary.items, summary.copies) == (240, 80)
    assert summary.cost_usd == sum((row["cost_usd"] for row in rows), Decimal(0)) > 0


def test_the_books_are_not_closed_over_rows_of_which_one_is_there_twice_in_the_place_of_another(tmp_path: Path) -> None:
    run = begin(tmp_path / "in")
    plan = planning.plan_documents(run, quiet())
    score(run, plan)
    publish_copies(run, plan, quiet())
    part = Path(run.store.root, next(iter(result_parts(run.store))))
    rows = pq.read_table(part)
    part.write_bytes(to_parquet(pa.concat_tables([rows.slice(1), rows.slice(1, 1)])))
    with pytest.raises(InvariantError, match="some have none, others two"):
        complete_run.fn(run, plan, None, quiet())
    assert not run.store.exists(layout.SUMMARY) and not run.store.exists(layout.COMPLETE)


def test_few_originals_are_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents_planning, "_MAX_SHARD_ITEMS", 20)
    monkeypatch.setattr(publishing, "_ROWS_PER_RESULT_PART", 20)
    monkeypatch.setattr(copies, "_COPIES_AT_ONCE", 30)
    held: list[int] = []
    read = copies._rows_of
    monkeypatch.setattr(copies, "_rows_of", lambda run, wanted: held.append(len(wanted)) or read(run, wanted))
    run = begin(tmp_path / "in")
    plan = planning.plan_documents(run, quiet())
    score(run, plan)
    publish_copies(run, plan, quiet())
    assert len(held) > 1 and max(held) < DOCUMENTS - TEXTS == sum(held), held
    rows = rows_of(run)
    assert [row["document_id"] for row in rows] == [f"d{n}" for n in range(DOCUMENTS)]
    assert [row["engine_answer"] for row in rows[TEXTS:]] == [row["engine_answer"] for row in rows[: DOCUMENTS - TEXTS]]


def test_a_planning_that_is_killed_comes_to_the_same_plan(tmp_path: Path) -> None:
    whole, killed = begin(tmp_path / "a"), begin(tmp_path / "b")
    planning.plan_documents(whole, quiet())

    class Killed(Exception): ...

    def die(shard: int, tokens: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        planning.plan_documents(killed, quiet(), die)
    assert planning.read_plan(killed) is None
    planning.plan_documents(killed, quiet())
    # Ids name the run's own place: what is the same is which document is whose copy.
    assert copies_in(whole) == copies_in(killed)
    assert len(copies_in(killed)) == DOCUMENTS - TEXTS


def test_a_policy_makes_two_originals_of_one_text(tmp_path: Path) -> None:
    claude = {"model": "claude-haiku-4-5", "provider": "simulation"}
    policy, known = {"never_escalate": "pii"}, {"gold_column": "label"}
    run = begin(tmp_path / "in", policy=policy, escalation=claude, evaluation=known)
    plan = planning.plan_documents(run, quiet())
    score(run, plan)
    publishing.publish_unsent(run, plan, Ledger(1), "the budget is spent", "")
    publish_copies(run, plan, quiet())
    rows = rows_of(run)
    by_id = {row["item_id"]: row for row in rows}
    assert {row["route"] for row in rows} == {"accepted", "review", "withheld"}
    for row in rows:
        is_held = row["n"] % 3 == 0
        if row["route"] != "accepted":
            assert (row["route"] == "withheld") is is_held
        if row["duplicate_of"]:
            assert (by_id[row["duplicate_of"]]["n"] % 3 == 0) is is_held


def test_kept_duplicates_are_all_asked_about(tmp_path: Path) -> None:
    plan = planning.plan_documents(begin(tmp_path / "in", duplicates="keep"), quiet())
    assert (plan.scorable_items, plan.duplicate_items) == (240, 0)


def test_a_copy_whose_original_has_no_row_is_our_fault(tmp_path: Path) -> None:
    run = begin(tmp_path / "in")
    plan = planning.plan_documents(run, quiet())
    score(run, plan)
    copies = pa.concat_tables(read_copies(run.store, shard) for shard in range(plan.shards))
    originals = empty_results().select(["item_id", *TAKEN])
    with pytest.raises(InvariantError, match="copy of one that has no row"):
        copy_rows(copies, originals, is_over_http=False)
