"""A run with several questions in process: planned once, scored by nobody, each question to its end, and added up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as dataset
import pytest

from flows import process
from flows.console.progress import ProgressReporter
from flows.inspect import run_status, write_report
from flows.preflight.surroundings import check_surroundings
from flows.run import Run, begin_questions, open_run, prepare_run
from flows.stages import planning
from flows.stages.question_runs import close_questions, settle_questions
from flows.stages.scoring import PlannedShards, scored_shards
from flows.submit import cancel_run, process_run
from pipelines.errors import InvariantError, JobError, RunNotFoundError, ServiceError
from pipelines.job.job import Job
from pipelines.people.answers import Answer, Answers
from pipelines.people.waiting import open_asked
from pipelines.report.summary import Summary
from pipelines.scored_parts import items_of_plan, scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.result_rows import result_rows
from pipelines.store.runs import open_store
from pipelines.store.schemas import to_arrow
from tests.faults.escalation_case import quiet
from tests.made_up_run import NOW
from workers.engines.requests import ShardScores
from workers.engines.scorer import prediction_table

# transformers warns about itself while it loads
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_state")]

DOCUMENTS, COPIES = 90, 6
ANGRY = "<b>angry"  # a label may be called anything
JOB = {
    "name": "several",
    "task": "classification",
    "model": "starter",
    "questions": {
        "topic": {
            "labels": {"billing": None, "outage": None, "other": None},
            "quality": {"raw_threshold": 0.8},
            "evaluation": {"gold_column": "topic"},
        },
        "fits": {"labels": {"urgent": "today", ANGRY: None}, "choose": "any", "quality": "off"},
    },
    "columns": {"carry": ["n"]},
    "policy": {"never_escalate": "pii == true"},
    "escalation": "off",
    "compute": {"device_hour_usd": "0.05"},
}
KEYS = ("topic", "fits.01", "fits.02")


def begin(folder: Path, personal: Sequence[int] = (), **changes: Any) -> Run:
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "id": f"d{n}",
            "text": f"Document {n % (DOCUMENTS - COPIES)}, please.",
            "n": n,
            "pii": n in personal,
            "topic": "outage",
        }
        for n in range(DOCUMENTS)
    ]
    (folder / "documents.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    job = Job.model_validate(JOB | {"input": str(folder / "documents.jsonl"), "output": str(folder)} | changes)
    return prepare_run(job, check_surroundings(job), "run")


def score(run: Run, plan: planning.PlanSummary) -> None:
    """What engines would commit: sure of every other document, after odd amounts of time."""
    for place, each in enumerate(run.questions):
        for shard in range(plan.shards):
            items = items_of_plan(run.store.read(layout.plan_part(shard)), KEYS[place])
            asked = items.filter(items["duplicate_of"].is_null())
            count, labels = len(asked), len(each.job.labels)
            logprobs = np.full((count, labels), np.log(0.1), np.float32)
            logprobs[:, place % labels] = np.where(np.arange(count) % 2, np.log(0.8), np.log(0.3))
            numbers = [np.full(count, value, np.int64) for value in (100, 64, 1, 1_234_567 + 11 * place)]
            predictions = prediction_table(asked["item_id"], ShardScores(logprobs, *numbers))
            each.store.create(layout.predictions_part(shard), to_arrow(scored_part(items, predictions)))


def settle(run: Run, plan: planning.PlanSummary) -> bool:
    def one(each: Run, progress: ProgressReporter) -> Summary | None:
        own = planning.of_question(each, plan)
        process.decide.fn(each, own, progress, True, None)
        process.publish_scored.fn(each, own, progress)
        return process.complete_run.fn(each, own, None, progress)

    return settle_questions(run.questions, one, quiet())


@pytest.fixture
def planned(tmp_path: Path) -> tuple[Run, planning.PlanSummary]:
    run = begin(tmp_path / "out")
    return run, planning.plan_documents(run, quiet())


@pytest.fixture
def ended(planned: tuple[Run, planning.PlanSummary]) -> tuple[Run, Summary]:
    run, plan = planned
    score(run, plan)
    assert settle(run, plan)
    summary = close_questions(run, plan)
    run.store.create(layout.SUMMARY, summary.model_dump_json().encode())
    run.store.create(layout.COMPLETE, b"{}")
    return run, summary


def test_all_rows_of_all_questions_are_one_data_set_that_costs_what_the_run_costs(ended: tuple[Run, Summary]) -> None:
    run, summary = ended
    rows = dataset.dataset(run.store.uri(layout.RESULTS)).to_table().to_pylist()
    assert len(rows) == summary.items == 3 * DOCUMENTS
    assert Counter((row["question"], row["label"]) for row in rows) == {
        ("topic", None): DOCUMENTS,
        ("fits", "urgent"): DOCUMENTS,
        ("fits", ANGRY): DOCUMENTS,
    }
    assert {row["run_id"] for row in rows} == {"run"}
    assert len({(row["item_id"], row["question"], row["label"]) for row in rows}) == len(rows)
    assert sorted({row["n"] for row in rows}) == list(range(DOCUMENTS)), "carried columns go to every question's rows"
    assert sum((row["cost_usd"] for row in rows), Decimal(0)) == summary.cost_usd
    assert summary.cost_usd == sum((each.cost_usd or 0 for each in summary.questions), Decimal(0))
    assert sum(row["duplicate_of"] is not None for row in rows) == 3 * COPIES


def test_what_may_not_be_sent_is_withheld_of_every_question(tmp_path: Path) -> None:
    run = begin(tmp_path / "out", personal=[0, 1, 4])
    plan = planning.plan_documents(run, quiet())
    for key in KEYS:
        parts = [items_of_plan(run.store.read(layout.plan_part(shard)), key) for shard in range(plan.shards)]
        rows = pa.concat_tables(parts).to_pylist()
        assert {row["document_id"] for row in rows if row["withheld"]} == {"d0", "d1", "d4"}


def test_each_question_has_its_own_rule_its_own_answers_and_its_own_known_ones(ended: tuple[Run, Summary]) -> None:
    run, summary = ended
    rows = dataset.dataset(run.store.uri(layout.RESULTS)).to_table().to_pylist()
    by_question = {
        key: [row for row in rows if (row["question"], row["label"]) == key]
        for key in (("topic", None), ("fits", "urgent"), ("fits", ANGRY))
    }
    topic, urgent, angry = by_question.values()
    assert {row["answer"] for row in topic} == {"billing", None}, "a threshold: what is under it is left to a person"
    assert {row["answer"] for row in urgent} == {"no"} and {row["answer"] for row in angry} == {"yes"}
    assert {row["gold_label"] for row in topic} == {"outage"}
    assert {row["gold_label"] for row in (*urgent, *angry)} == {None}
    assert [each.key for each in summary.questions] == list(KEYS)
    assert [each.label for each in summary.questions] == [None, "urgent", ANGRY]
    assert summary.questions[0].accuracy == 0.0 and summary.questions[1].accuracy is None


def test_a_question_is_looked_at_and_reported_like_any_run_and_the_run_like_all_of_them(
    ended: tuple[Run, Summary], tmp_path: Path
) -> None:
    run, summary = ended
    status, topic = run_status("run"), run_status("run.topic")
    assert (status.planned_items, topic.planned_items) == (3 * DOCUMENTS, DOCUMENTS)
    assert status.routes == {route: each.items for route, each in summary.routes.items()}
    assert status.cost_usd == summary.cost_usd
    page = write_report("run", False, tmp_path / "report.html").read_text()
    assert all(f'href="questions/{key}/report.html"' in page for key in KEYS)
    assert "&lt;b&gt;angry" in page and ANGRY not in page
    assert "run.fits.01" in write_report("run.fits.01", False, tmp_path / "one.html").read_text()
    assert run.questions[0].store.exists(layout.REPORT)


def test_people_answer_one_question_at_a_time_and_their_answers_stand_among_the_rows_of_all(
    ended: tuple[Run, Summary],
) -> None:
    run, _ = ended
    with pytest.raises(RunNotFoundError, match=r"name the one .* such as run\.topic or run\.fits\.01"):
        open_asked("run")
    asked = open_asked("run.topic")
    rows = result_rows("run", ["item_id", "question", "duplicate_of"], ["review"]).rows()
    left = next(row for row in rows if row["duplicate_of"] is None)
    assert left["question"] == "topic"
    taken = Answers(asked.store).give([Answer(str(left["item_id"]), "other", "Ann", NOW, "screen")])
    assert taken.kept == 1
    columns = ["item_id", "question", "answer", "person", "duplicate_of"]
    answered = [row for row in result_rows("run", columns).rows() if row["person"]]
    assert {(row["duplicate_of"] or row["item_id"], row["question"], row["answer"]) for row in answered} == {
        (left["item_id"], "topic", "other")
    }
    assert not list(run.store.list(layout.PEOPLE))


def test_a_run_under_way_is_the_sum_of_its_questions_and_a_shard_is_scored_once_it_is_for_all(
    planned: tuple[Run, planning.PlanSummary],
) -> None:
    run, plan = planned
    score(run, plan)
    status = run_status("run")
    assert (status.stage, status.scored_shards, status.planned_items) == ("ask", plan.shards, 3 * DOCUMENTS)
    assert status.engine_cost_usd == sum(run_status(f"run.{key}").engine_cost_usd or 0 for key in KEYS)
    last = run.questions[2].store
    Path(last.uri(layout.predictions_part(0))).unlink()
    assert scored_shards(run) == set(range(1, plan.shards))
    assert PlannedShards(run).scored == scored_shards(run)
    assert run_status("run").stage == "score"


def test_what_a_kill_left_of_the_records_is_made_good_and_the_same(tmp_path: Path) -> None:
    run = begin(tmp_path / "out")
    record = Path(run.questions[1].store.uri(layout.RUN))
    before = record.read_bytes()
    record.unlink()
    begin_questions(open_run("run"))
    assert record.read_bytes() == before
    assert open_run("run.fits.01").job == run.questions[1].job
    again = begin(tmp_path / "out")
    assert (again.run_id, again.record) == (run.run_id, run.record)


def test_an_id_that_leaves_no_room_for_its_questions_is_refused_before_anything_is_there(tmp_path: Path) -> None:
    run = begin(tmp_path / "out")
    with pytest.raises(JobError, match="give at most 128 letters"):
        prepare_run(run.job, check_surroundings(run.job), "r" * 125)
    assert not list((tmp_path / "out" / ("r" * 125)).rglob("*.*"))


def test_a_question_goes_on_with_its_run_alone(tmp_path: Path) -> None:
    begin(tmp_path / "out")
    told = "run.topic is a question of run run, and goes on with it: name that one"
    with pytest.raises(JobError, match=told):
        process_run(open_run("run.topic"), None, True, quiet())
    with pytest.raises(JobError, match=told):
        cancel_run("run.topic", quiet())


def test_another_set_of_questions_is_another_run(tmp_path: Path) -> None:
    begin(tmp_path / "out")
    with pytest.raises(JobError, match="run id 'run' is taken by a run with another prompt fingerprint"):
        begin(
            tmp_path / "out",
            questions={**JOB["questions"], "more": {"labels": {"a": None, "b": None}, "quality": "off"}},
        )


def test_what_goes_wrong_with_one_question_keeps_no_other_from_its_end(
    planned: tuple[Run, planning.PlanSummary],
) -> None:
    run, _ = planned
    done: list[str] = []

    def one(each: Run, progress: ProgressReporter) -> None:
        done.append(each.run_id)
        if each.run_id == "run.topic":
            raise ServiceError("no answer")

    with pytest.raises(ServiceError, match="no answer"):
        settle_questions(run.questions, one, quiet())
    assert sorted(done) == sorted(each.run_id for each in run.questions)
    assert not settle_questions(run.questions[1:], lambda *_: None, quiet()), "none of them is complete"


def test_a_run_that_lost_a_part_of_a_question_does_not_close(ended: tuple[Run, Summary]) -> None:
    run, _ = ended
    plan = planning.read_plan(run)
    assert plan is not None
    next(Path(run.store.root, layout.RESULTS, "topic").glob("*-scored.parquet")).unlink()
    with pytest.raises(InvariantError, match="the run is not complete"):
        close_questions(run, plan)


def test_profiles_of_a_question_are_kept_apart_from_those_of_the_others(tmp_path: Path) -> None:
    from flows.deciding.profiles import _key

    run = begin(tmp_path / "out")
    assert [_key(each).rpartition("/")[0] for each in run.questions] == [f"_quality/several.{key}" for key in KEYS]
    assert isinstance(open_store("run"), Store)
