"""Several questions in one job file, and labels of which any may fit: what may stand there, and what each comes to."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.job.job import Job
from pipelines.job.job_file import parse_job, with_absolute_places
from pipelines.job.question_jobs import MOST_ASKED, asked_jobs
from tests.job.job_case import CLAUDE, GOOD, load, path, problems

__all__ = ["path"]

LABELS = 'labels: {billing: "money", outage: null}\n'
COMMON = GOOD.replace(LABELS, "").replace("escalation: off", CLAUDE)
TWO = (
    COMMON
    + """\
questions:
  topic: {labels: {billing: money, outage: null}, quality: {target: 0.9}}
  urgent:
    labels: {"yes": null, "no": null}
    instructions: Must somebody act today?
"""
)
ANY = GOOD + "choose: any\n"


def test_each_question_is_a_job_of_its_own_with_what_it_leaves_out_from_the_job(path: Path) -> None:
    topic, urgent = asked_jobs(load(path, TWO))
    assert (topic.key, topic.question, topic.label) == ("topic", "topic", None)
    assert topic.job.dial == "target"
    assert list(topic.job.labels) == ["billing", "outage"]
    assert urgent.job.dial == "raw_threshold", "the job's own"
    assert urgent.job.instructions == "Must somebody act today?"
    assert urgent.job.escalation == load(path, TWO).escalation
    assert not urgent.job.asks_several


def test_a_job_with_questions_is_read_again_from_what_a_run_keeps_of_it(path: Path) -> None:
    job = load(path, TWO)
    assert parse_job(yaml.safe_dump(job.model_dump(mode="json"), sort_keys=False), "job.yaml") == job


@pytest.mark.parametrize("text", [GOOD, GOOD + "choose: one\n"])
def test_a_job_that_asks_one_question_is_written_as_it_always_was(path: Path, text: str) -> None:
    written = load(path, text).model_dump(mode="json")
    assert not {"questions", "choose"} & set(written)
    assert asked_jobs(load(path, text)) == []


def test_where_any_label_may_fit_each_is_asked_about_by_itself(path: Path) -> None:
    billing, outage = asked_jobs(load(path, ANY))
    assert [billing.key, outage.key] == ["labels.01", "labels.02"]
    assert (billing.question, billing.label, list(billing.job.labels)) == (None, "billing", ["yes", "no"])
    assert billing.job.instructions == "Does this label fit the document?\n\nThe label: billing: money"
    assert outage.job.instructions.endswith("The label: outage")
    own = asked_jobs(load(path, ANY + "instructions: Is it about this?\n"))
    assert own[0].job.instructions.startswith("Is it about this?\n\nThe label: billing")


def test_every_mistake_of_every_question_is_told_with_its_line(path: Path) -> None:
    wrong = (
        TWO.replace("quality: {target: 0.9}", "quality: {target: 0.9}, escalation: off")
        + "  Third: {labels: {only: null}}\n"
    )
    assert problems(path, wrong) == [
        "line 8: questions: 'Third' names a folder and a value of the column `question`: give a letter and at most 31 "
        "more of a-z, 0-9, '_' and '-'",
        "line 13: questions.Third.labels: at least 2 needed, 1 given",
    ]
    assert problems(path, wrong.replace("  Third: {labels: {only: null}}\n", "")) == [
        "line 9: questions.topic.quality: a target is kept by asking Claude: set escalation, or give a raw_threshold"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TWO + LABELS, "labels: labels stand in each of the questions; leave them out here"),
        (TWO + "choose: any\n", "choose: beside questions, say it in each of them"),
        (TWO + "long_documents: {how: windows}\n", "long_documents: several questions are asked about the beginning"),
        (TWO + "adapt: {every: 30d}\nquality: {target: 0.9}\n", "adapt: an adapter is trained for one question's"),
        (TWO + "label_order: averaged\n", "label_order: several questions read their labels as given"),
        (
            TWO.replace("model: starter", "model: {source: starter, adapter: ours}"),
            "model.adapter: an adapter is trained for one question's prompt",
        ),
        (
            TWO.replace("model: starter", "model: {endpoint: http://here/v1, name: a, where: own}"),
            "model.endpoint: several questions are not asked over HTTP yet",
        ),
        (TWO.replace("outage: null", '"outage\\u001b": null'), "topic.labels: control or private-use characters"),
        (TWO.replace("Must somebody act today?", '"Must \\u001b"'), "urgent.instructions: control or private-use"),
        (TWO + "evaluation: {gold_file: gold.csv}\n", "evaluation.gold_file: holds the answers to one question"),
        (ANY + "evaluation: {gold_file: gold.csv}\n", "evaluation.gold_file holds one label a document"),
        (
            TWO.replace("quality: {target: 0.9}", "escalation: {model: claude-haiku-5-5, provider: aws}"),
            "questions: they name several providers of Claude; one is asked for all of them",
        ),
        (TWO.replace('{"yes"', "{yes"), "line 11: questions.urgent.labels: YAML reads yes as a truth value"),
        (
            TWO.replace("task: classification", "task: code_review"),
            "questions and choose go with task: classification; leave them out of a code review",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(path: Path, text: str, told: str) -> None:
    assert any(told in problem for problem in problems(path, text)), problems(path, text)


def test_there_is_a_limit_to_what_is_asked_about_a_document(path: Path) -> None:
    def several(count: int) -> str:
        names = ", ".join(f"label{number}: null" for number in range(count))
        return GOOD.replace('{billing: "money", outage: null}', f"{{{names}}}") + "choose: any\n"

    assert len(asked_jobs(load(path, several(MOST_ASKED)))) == MOST_ASKED
    (told,) = problems(path, several(MOST_ASKED + 1))
    assert "65 are asked about each document" in told and "limit 64" in told


def test_whoever_is_named_to_answer_answers_every_question(path: Path) -> None:
    own = TWO.replace("quality: {target: 0.9}", "escalation: {model: claude-haiku-5-5}, evaluation: {gold_column: a}")
    own += "    evaluation: {gold_column: b}\n"
    job = load(path, own, {"escalation.provider": "simulation"})
    assert {each.job.provider for each in asked_jobs(job)} == {"simulation"}
    assert job.gold_columns == ["a", "b"]
    assert job.row_columns().attributes == {"a", "b"} and job.row_columns().gold is None


def test_parts_of_a_budget_that_are_more_than_it_are_refused(path: Path) -> None:
    text = "budget_usd: 1\n" + TWO + "    budget_usd: 1.5\n"
    (told,) = problems(path, text)
    assert told.endswith("questions: their parts of the budget are 1.5 together, budget_usd is 1; lower some")


MONEY = st.decimals(0, 1_000, places=7)


@given(budget=MONEY, parts=st.lists(st.none() | MONEY, min_size=1, max_size=6), labels=st.integers(1, 7))
def test_what_all_questions_may_spend_is_never_more_than_the_budget(
    budget: Decimal, parts: list[Decimal | None], labels: int
) -> None:
    named = sum((part for part in parts if part is not None), Decimal(0))
    questions = {
        f"q{number}": {"labels": {f"l{label}": None for label in range(labels + 1)}, "budget_usd": part}
        | ({"choose": "any"} if number % 2 else {})
        for number, part in enumerate(parts)
    }
    content = yaml.safe_load(COMMON) | {"questions": questions, "budget_usd": budget + named}
    asked = asked_jobs(Job.model_validate(content))
    given = [each.job.budget_usd for each in asked]
    assert None not in given
    spent = sum((each for each in given if each is not None), Decimal(0))
    assert spent <= budget + named
    if None in parts:
        assert spent > budget + named - Decimal("0.000001") * (len(asked) + len(parts)), (
            "no more is lost than by rounding"
        )
    for number, part in enumerate(parts):
        if part is not None and not number % 2:
            assert [each.job.budget_usd for each in asked if each.key == f"q{number}"] == [part]


def test_the_files_of_a_question_are_found_from_any_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    job = load(path, TWO.replace("quality: {target: 0.9}", "quality: {target: 0.9}, evaluation: {gold_file: gold.csv}"))
    topic, urgent = asked_jobs(with_absolute_places(job))
    assert topic.job.evaluation and topic.job.evaluation.gold_file == str(path.parent / "gold.csv")
    assert urgent.job.evaluation is None
