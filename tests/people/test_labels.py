"""What people's answers teach the next run of where the engine errs, and which of them do."""

from __future__ import annotations

from pathlib import Path

from pipelines.people.answers import Answers
from pipelines.people.labels import labels_of_people
from pipelines.store.objects import Store
from tests.made_up_run import accepted, escalated, failed, write_run
from tests.people.review_case import LABELS, answer


def made(root: Path) -> Store:
    """Ten items from the surest to the least sure, the last four in `review`; then what is no item of the rule."""
    held = {"route": "review", "answer": None}
    rows = [accepted(n, raw_prob=1 - n / 100, label_mass=1.0) for n in range(6)]
    rows += [accepted(n, raw_prob=1 - n / 100, label_mass=1.0, **held) for n in range(6, 9)]
    rows += [escalated(9, raw_prob=0.91, label_mass=1.0, **held)]  # Claude was asked, and did not answer
    rows += [accepted(10, raw_prob=0.1, route="withheld", answer=None), failed(11)]
    write_run(root, [rows[:7], rows[7:]])
    return Store(str(root))


def test_answers_count_along_the_ranking_as_right_or_wrong(tmp_path: Path) -> None:
    store = made(tmp_path / "run")
    Answers(store).give([answer(6, "refund"), answer(7, "billing"), answer(8, "refund")])
    seen = labels_of_people(store, Answers(store).by_item, LABELS)
    assert seen.rank.round(3).tolist() == [0.675, 0.775, 0.875], "of ten that were decided over, places 7 to 9"
    assert seen.answer.tolist() == [0, 0, 0]
    assert (seen.labels.tolist(), seen.wrong.tolist()) == ([1, 1, 1], [1, 0, 1])


def test_what_claude_was_asked_or_a_policy_withholds_teaches_nothing(tmp_path: Path) -> None:
    store = made(tmp_path / "run")
    Answers(store).give([answer(9, "refund"), answer(10, "billing")])
    assert labels_of_people(store, Answers(store).by_item, LABELS).labels.sum() == 0


def test_of_a_run_whose_rows_are_gone_nothing_is_learnt(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "run"))
    assert labels_of_people(store, {}, LABELS).labels.sum() == 0
