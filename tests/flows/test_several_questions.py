"""Where a job with several questions is not taken, and where its questions are looked for one by one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.deciding.adapting import _problem
from flows.drop_folder.job_rules import JobRules
from flows.estimate import estimate_job
from flows.estimate.sample import estimate_from_sample
from flows.preflight.surroundings import check_surroundings
from flows.run import open_run, prepare_run
from flows.service.collect import open_runs
from flows.stages import planning
from flows.submit import cancel_run
from pipelines.errors import JobError
from pipelines.escalation.journal import Journal
from pipelines.job.job import Job
from pipelines.job.job_file import parse_job
from tests.faults.escalation_case import quiet
from tests.job.job_case import GOOD
from tests.job.test_job_questions import TWO

# transformers warns about itself while it loads
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_state")]


def job_in(folder: Path, text: str = TWO, **changes: Any) -> Job:
    (folder / "inbox").mkdir(exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    rows = [{"id": f"d{n}", "text": f"Document {n}.", "a": "billing", "b": "yes"} for n in range(4)]
    (folder / "inbox/rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    overrides = {"input": str(folder / "inbox"), "output": str(folder / "out"), "escalation.provider": "aws"}
    return parse_job(text, "job.yaml", overrides | changes)


def test_a_dropped_job_file_may_not_ask_several_questions_unless_they_are_the_default_jobs(tmp_path: Path) -> None:
    several, one = job_in(tmp_path), job_in(tmp_path, GOOD)
    (told, *_) = JobRules(one).problems(several)
    assert told.startswith("questions: several questions, or choose: any, are not allowed in a job file beside dropped")
    assert not [each for each in JobRules(several).problems(several) if each.startswith("questions")]
    assert any(
        each.startswith("questions") for each in JobRules(one).problems(job_in(tmp_path, GOOD + "choose: any\n"))
    )


def test_such_a_job_is_not_estimated(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(TWO)
    for estimate in (
        lambda: estimate_job(tmp_path / "job.yaml", {}, quiet()),
        lambda: estimate_from_sample(tmp_path / "job.yaml", {}, 10, False, quiet()),
    ):
        with pytest.raises(JobError, match=r"is not estimated ahead; `pipeline submit .*job.yaml --limit 500`"):
            estimate()


def test_no_adapter_is_trained_from_it(tmp_path: Path) -> None:
    run = prepare_run(job_in(tmp_path), check_surroundings(job_in(tmp_path)), "run")
    for each in (run, open_run("run.topic")):
        assert (
            _problem(each, each) == f"{each.run_id}: asks several questions; adapters are trained for jobs that ask one"
        )


def test_what_one_question_names_and_is_not_there_is_told_before_anything_runs(tmp_path: Path) -> None:
    text = TWO.replace("quality: {target: 0.9}", "quality: {target: 0.9}, evaluation: {gold_file: nowhere.csv}")
    with pytest.raises(JobError) as told:
        check_surroundings(job_in(tmp_path, text + "    evaluation: {gold_column: c}\n    budget_usd: 1\n"))
    assert [problem.partition(";")[0] for problem in told.value.problems] == [
        "evaluation.gold_column: rows.jsonl has no column 'c' (there are 'id', 'text', 'a', 'b')",
        "questions.topic.evaluation.gold_file: no file 'nowhere.csv'",
    ]


def test_known_answers_are_read_from_a_column_of_each_question_or_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_text("id,label\nd1,outage\n")
    named = f"evaluation: {{gold_file: {tmp_path / 'gold.csv'}}}"
    text = TWO.replace("quality: {target: 0.9}", f"quality: {{target: 0.9}}, {named}")
    job = job_in(tmp_path, text + "    evaluation: {gold_column: b}\n")
    run = prepare_run(job, check_surroundings(job), "run")
    plan = planning.plan_documents(run, quiet())
    assert (plan.gold_items, plan.gold_items_of) == (0, {"topic": 1, "urgent": 4})
    topic, urgent = run.questions
    assert [planning.read_plan(each).gold_items for each in run.questions] == [1, 4]  # type: ignore[union-attr]  # all are planned
    assert list(topic.question.known_answers(topic.store, plan.shards)) == [("Document 1.", {"label": "outage"})]
    assert {answer["label"] for _, answer in urgent.question.known_answers(urgent.store, plan.shards)} == {"yes"}


def test_answers_are_collected_where_one_question_has_asked_and_a_cancel_reaches_them_all(tmp_path: Path) -> None:
    run = prepare_run(job_in(tmp_path), check_surroundings(job_in(tmp_path)), "run")
    assert open_runs(quiet(), set()) == []
    with pytest.raises(JobError, match="has sent nothing to Claude"):
        cancel_run("run", quiet())
    Journal(run.questions[1].store).close(0, None, datetime.now(UTC))
    assert open_runs(quiet(), set()) == [run.store.root]
