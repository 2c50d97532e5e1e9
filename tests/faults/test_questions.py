"""Two questions that ask Claude side by side: real processes, killed and resumed, against the books of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.dataset as dataset
import pytest

from flows.console.progress import ProgressReporter
from flows.deciding.asking import settle_quality
from flows.deciding.item_by_item import decide_item_by_item
from flows.escalation.escalate import EscalationLoop
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, open_run, prepare_run
from flows.stages import planning, publishing
from flows.stages.question_runs import settle_questions
from pipelines.escalation.patience import PatientProvider
from pipelines.job.job import Job
from pipelines.scored_parts import items_of_plan, scored_part
from pipelines.store import layout
from pipelines.store.schemas import to_arrow
from tests.faults.escalation_case import LABELS, LONGEST_WAIT_SECONDS, MODEL, KilledAt, billed_usd, informed, quiet
from tests.faults.service_case import ForkedServer, client, in_process
from tests.infra.message_batches_server import Server
from workers.engines.requests import ShardScores
from workers.engines.scorer import prediction_table

pytestmark = pytest.mark.processes

ITEMS = 200
QUESTION = {"labels": dict.fromkeys(LABELS)}
# Of which the second question's part is too small for all that it would ask, and the first's more than enough.
BUDGET, PART = Decimal("0.5"), Decimal("0.004")


def prepare(folder: Path) -> None:
    """A planned run in ``folder/run`` with made-up predictions; the same known answers to both questions."""
    folder.mkdir()
    rows = [{"id": f"d{n}", "text": f"Document {n}, please.", "label": LABELS[n % 3]} for n in range(ITEMS)]
    (folder / "documents.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    content = {
        "name": "several",
        "task": "classification",
        "input": str(folder / "documents.jsonl"),
        "output": str(folder),
        "model": "starter",
        "questions": {
            "kept": {**QUESTION, "quality": {"target": 0.9, "assurance": 0.9, "audit_items": 5}},
            "doubtful": {**QUESTION, "quality": {"raw_threshold": 0.9}, "budget_usd": PART, "instructions": "Which?"},
        },
        "budget_usd": BUDGET,
        "escalation": {"model": MODEL, "provider": "simulation", "chunk_items": 40, "max_output_tokens": 64},
        "evaluation": {"gold_column": "label"},
        "compute": {"device_hour_usd": "0.05"},
    }
    job = Job.model_validate(content)
    run = prepare_run(job, check_surroundings(job), "run")
    plan = planning.plan_documents(run, quiet())
    for each in run.questions:
        for shard in range(plan.shards):
            items = items_of_plan(run.store.read(layout.plan_part(shard)), each.store.root.rpartition("/")[2])
            logprobs = informed([str(label) for label in items["gold_label"].to_pylist()])
            numbers = [np.full(len(items), value, np.int64) for value in (100, 64, 1, 4_000_000)]
            part = scored_part(items, prediction_table(items["item_id"], ShardScores(logprobs, *numbers)))
            each.store.create(layout.predictions_part(shard), to_arrow(part))
    answers = run.questions[0].question.known_answers(run.questions[0].store, plan.shards)
    from flows.escalation.simulation import write_answer_key

    write_answer_key(answers, folder / "answers.jsonl")


def settle(root: str, url: str, point: str = "never") -> None:
    """What one process does: as `flows.process` after scoring, but for the books."""

    def one(each: Run, progress: ProgressReporter) -> None:
        plan = planning.read_plan(each)
        assert plan
        provider = PatientProvider(KilledAt(client(url), point), lambda _seconds: None, LONGEST_WAIT_SECONDS)
        if each.rule:
            decide_item_by_item(each, plan, each.rule)
        else:
            assert settle_quality(each, plan, provider, progress, wait=True).is_done
        publishing.publish_scored(each, plan, progress)
        if each.rule:
            assert EscalationLoop(each, plan, provider, progress).run(wait=True).is_done

    settle_questions(open_run(root).questions, one, quiet())


def rows_of(root: str) -> list[dict[str, object]]:
    return dataset.dataset(f"{root}/{layout.RESULTS}").to_table().to_pylist()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Server]:
    in_process(prepare, tmp_path / "case")
    key = ("--answer-key", str(tmp_path / "case/answers.jsonl"), "--error-rate", "0")
    server = ForkedServer(tmp_path / "case/service", *key)
    yield server
    server.__exit__()


def test_killed_again_and_again_both_questions_end_within_their_parts_and_nothing_is_billed_twice(
    tmp_path: Path, service: Server
) -> None:
    root = str(tmp_path / "case/run")
    for point in ("before POST", "after POST before id", "while reading results"):
        with pytest.raises(BrokenProcessPool):
            in_process(settle, root, service.url, point)
    in_process(settle, root, service.url)
    rows = in_process(rows_of, root)
    assert len({(row["item_id"], row["question"]) for row in rows}) == len(rows) == 2 * ITEMS
    billing = service.control("billing")["custom_ids"]
    assert {usage["count"] for usage in billing.values()} == {1}
    billed = sum((billed_usd(usage) for usage in billing.values()), Decimal(0))
    asked = {name: [row for row in rows if row["question"] == name] for name in ("kept", "doubtful")}
    spent = {name: sum((Decimal(str(row["api_cost_usd"])) for row in of), Decimal(0)) for name, of in asked.items()}
    assert sum(spent.values()) == billed <= BUDGET, "the rows say what the service bills, for all questions"
    assert 0 < spent["doubtful"] <= PART < spent["kept"]
    assert {row["route"] for row in asked["kept"]} == {"accepted", "escalated"}
    assert {row["route"] for row in asked["doubtful"]} == {"accepted", "escalated", "review"}
    wrong = sum(row["answer"] != row["gold_label"] for row in asked["kept"])
    assert wrong <= 0.1 * ITEMS
