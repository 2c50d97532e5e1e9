"""What a run with several questions comes to: each in two lines, and nothing promised of all together."""

from __future__ import annotations

from pathlib import Path

from pipelines.report.page import as_markdown
from pipelines.report.questions import of_questions, question_lines
from pipelines.report.summary import Summary
from tests.made_up_run import accepted, escalated, write_run


def summary_of(folder: Path, name: str, *warnings: str, problem: str | None = None) -> Summary:
    summary = write_run(folder / name, [[accepted(1), escalated(2)]])
    return summary.model_copy(update={"run_id": name, "warnings": list(warnings), "problem": problem})


def test_what_is_to_be_known_of_one_stands_behind_its_name_and_what_is_of_all_is_said_once(tmp_path: Path) -> None:
    each = [summary_of(tmp_path, "r.topic", "limited", "unsure"), summary_of(tmp_path, "r.fits.01", "limited")]
    whole = of_questions(summary_of(tmp_path, "r", "of all rows"), each, [None, "urgent"])
    assert whole.warnings == ["limited", "topic: unsure"]
    assert [(one.key, one.label, one.run_id) for one in whole.questions] == [
        ("topic", None, "r.topic"),
        ("fits.01", "urgent", "r.fits.01"),
    ]
    told = question_lines(whole)
    assert told[0].startswith("topic     No promise: ") and told[2].startswith("fits.01   urgent: No promise: ")
    assert told[1] == "          1 accepted 50.0%, 1 escalated 50.0%; cost 0.0000438 USD"
    assert "**fits.01** urgent: No promise" in as_markdown(whole)
    assert whole.problem is None


def test_a_question_that_came_to_nothing_is_the_runs_problem(tmp_path: Path) -> None:
    each = [summary_of(tmp_path, "r.a", problem="all failed"), summary_of(tmp_path, "r.b")]
    whole = of_questions(summary_of(tmp_path, "r"), each, [None, None])
    assert whole.problem == "a: all failed"
    assert whole.questions[0].kind == "failed"
