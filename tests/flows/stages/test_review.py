"""What a review publishes of a run in which one item could not be read: rows in, SARIF and records out."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.stages.planning import PlanSummary
from flows.stages.review import publish_review
from pipelines.job.job import Job
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import PLAN, RESULTS, to_arrow

SHOWN = '@file "a.py" added\n@@\n1+|x = eval(y)\n'
FOUND = {"path": "a.py", "line": 1, "end_line": 1, "severity": "high", "category": "code-injection", "message": "m"}


def row(number: int, **values: Any) -> dict[str, Any]:
    fixed = {"item_id": f"itm_{number}", "document_id": f"{number}.patch", "document_uri": "u", "document_offset": 0}
    rest = {"task": "code_review", "route": "accepted", "engine_answer": "clean", "findings": [], "run_id": "run_1"}
    found = {"settled_at": datetime.now(UTC), "dropped_findings": 0, "raw_prob": 0.9}
    return fixed | rest | found | values


def store_of(folder: Path, rows: list[dict[str, Any]]) -> Store:
    root = folder / "run_1"
    (root / layout.RESULTS).mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=RESULTS), root / layout.RESULTS / "part-00000.parquet")
    store = Store(str(root))
    plan = [{name: row.get(name) for name in PLAN.names} | {"text": SHOWN} for row in rows]
    store.create(layout.plan_part(0), to_arrow(pa.Table.from_pylist(plan, schema=PLAN)))
    return store


def publish(folder: Path, rows: list[dict[str, Any]], items: int | None = None) -> tuple[Any, Store]:
    store = store_of(folder, rows)
    job = Job.model_validate(
        {"name": "reviews", "task": "code_review", "input": "in", "output": str(folder), "model": False}
        | {"escalation": {"model": "claude-haiku-5-5"}}
    )
    run: Any = SimpleNamespace(store=store, run_id="run_1", job=job, has_engine=False)
    plan = PlanSummary(
        shards=1,
        items=len(rows) if items is None else items,
        failed_items=0,
        gold_items=0,
        document_tokens=0,
        items_sum="0",
    )
    return publish_review(run, plan), store


UNREADABLE = row(2, route="failed", findings=None, engine_answer=None, reason="2.patch: holds no \x1bunified diff")
CUT = row(3, route="review", engine_answer=None, reason="the answer was cut", findings=[FOUND | {"raw_prob": 0.9}])


def test_one_unreadable_diff_and_one_cut_answer_do_not_cost_the_run_its_sarif(tmp_path: Path) -> None:
    record, store = publish(tmp_path, [row(1, findings=[FOUND | {"raw_prob": 0.9}]), UNREADABLE, CUT])
    assert (record.reviewed_items, record.unreviewed, record.unfinished_items) == (2, {"failed": 1}, 1)
    (content,) = json.loads(store.read(layout.SARIF))["runs"]
    assert [result["properties"]["itemId"] for result in content["results"]] == ["itm_1", "itm_3"]
    (invocation,) = content["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [told["message"]["text"] for told in invocation["toolExecutionNotifications"][1:]] == [
        "not reviewed: 2.patch: holds no ␛unified diff",
        "not reviewed: 3.patch: the answer was cut",
    ]
    assert "\n- 3.patch: the answer was cut\n" in store.read(layout.REVIEW_MARKDOWN).decode()
    assert record.as_lines()[-1].startswith("coverage  1 of 3 items have no review (1 failed); 1 of 3 items have only")


def test_a_complete_review_says_so(tmp_path: Path) -> None:
    record, store = publish(tmp_path, [row(1), row(2, route="escalated", engine_answer=None)])
    assert record.coverage.gap() is None
    assert json.loads(store.read(layout.SARIF))["runs"][0]["invocations"][0]["executionSuccessful"] is True


@pytest.mark.parametrize(("rows", "items"), [([UNREADABLE], 1), ([row(1)], 2)])
def test_where_nothing_was_reviewed_or_rows_are_missing_there_is_none(
    tmp_path: Path, rows: list[dict[str, Any]], items: int
) -> None:
    record, store = publish(tmp_path, rows, items)
    assert store.read_if_exists(layout.SARIF) is None
    assert "No SARIF is written" in (record.coverage.gap() or "")


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    record, _ = publish(tmp_path, [row(1)])
    old = {name: value for name, value in record.model_dump().items() if name not in ("missing", "unfinished_items")}
    assert type(record).model_validate(old) == record
