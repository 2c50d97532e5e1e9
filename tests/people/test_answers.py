"""People's answers: kept once, beside rows that stay as they are; nobody overwrites what they have not seen."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow.dataset as dataset
import pytest

from pipelines.people.answers import Answers
from pipelines.people.waiting import open_asked
from pipelines.report.html.reported_run import read_run
from pipelines.report.html.tables import samples
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.result_rows import result_rows
from tests.made_up_run import accepted
from tests.people.review_case import REVIEW, answer, item, review_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return review_run(tmp_path / "run")


def objects(store: Store) -> dict[str, bytes]:
    return {key: store.read(key) for key in store.list("") if not key.startswith(layout.PEOPLE)}


def test_an_answer_stands_in_the_row_and_nothing_of_the_run_is_touched(store: Store) -> None:
    before = objects(store)
    assert Answers(store).give([answer(2, "refund"), answer(6, "billing", "bob")]).kept == 2
    assert objects(store) == before
    rows = {row["item_id"]: row for row in result_rows(store.root).rows()}
    assert len(rows) == 7, "one item, one row"
    shown = [(rows[item(n)]["route"], rows[item(n)]["answer"], rows[item(n)]["answered_by"]) for n in range(1, 8)]
    assert shown == [
        ("accepted", "billing", "engine"),
        ("review", "refund", "person"),
        ("escalated", "billing", "claude"),
        ("review", None, None),
        ("review", None, None),
        ("withheld", "billing", "person"),
        ("accepted", "billing", "engine"),
    ]
    assert rows[item(6)]["person"] == "bob"
    parts = dataset.dataset(f"{store.root}/results").to_table()
    assert parts.filter(dataset.field("route") == "review")["answer"].null_count == 3, "parts are never rewritten"


def test_costs_and_counts_are_the_runs_whatever_people_answer(store: Store) -> None:
    def sums() -> tuple[int, object]:
        rows = list(result_rows(store.root, ["cost_usd"]).rows())
        return len(rows), sum(row["cost_usd"] for row in rows)

    before = sums()
    Answers(store).give([answer(number, "refund") for number in REVIEW])
    assert sums() == before


def test_the_same_answers_twice_are_kept_once(store: Store) -> None:
    Answers(store).give([answer(2, "refund"), answer(4, "billing")])
    again = Answers(store).give([answer(2, "refund", "bob"), answer(4, "billing")])
    assert (again.kept, again.known, again.refused) == (0, 2, ())
    assert len(list(store.list(layout.PEOPLE))) == 1
    assert Answers(store).by_item[item(2)].person == "ann", "who was first is not forgotten"


def test_another_answer_is_refused_with_all_that_came_with_it(store: Store) -> None:
    Answers(store).give([answer(2, "refund")])
    taken = Answers(store).give([answer(4, "billing"), answer(2, "billing", "bob")])
    assert taken.kept == 0
    ((given, there),) = taken.refused
    assert (given.person, there and there.person) == ("bob", "ann")
    assert item(4) not in Answers(store).by_item


def test_who_has_seen_an_answer_may_change_it_and_both_are_kept(store: Store) -> None:
    Answers(store).give([answer(2, "refund")])
    assert Answers(store).give([answer(2, "billing", "bob", replaces="refund")]).kept == 1
    answers = Answers(store)
    assert (answers.by_item[item(2)].answer, answers.by_item[item(2)].replaces) == ("billing", "refund")
    assert len(list(store.list(layout.PEOPLE))) == 2
    assert answers.give([answer(2, "refund", "cal", replaces=None)]).refused, "it was never answered, as cal saw it"


def test_what_two_give_at_the_same_time_is_kept_of_both(store: Store) -> None:
    writers = [Answers(store) for _ in range(4)]  # all have read an empty log
    given = [
        [answer(number, "refund", f"p{place}") for number in pair]
        for place, pair in enumerate([(2,), (4,), (5,), (6,)])
    ]
    threads = [threading.Thread(target=log.give, args=(each,)) for log, each in zip(writers, given, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.item_id: each.person for each in Answers(store).by_item.values()} == {
        item(2): "p0",
        item(4): "p1",
        item(5): "p2",
        item(6): "p3",
    }


def test_of_two_who_answer_one_item_otherwise_at_the_same_time_one_is_told(store: Store) -> None:
    first, second = Answers(store), Answers(store)
    assert first.give([answer(2, "refund")]).kept == 1
    taken = second.give([answer(2, "billing", "bob")])  # had read the log before
    assert [there.answer for _, there in taken.refused if there] == ["refund"]
    assert Answers(store).by_item[item(2)].person == "ann"


def test_what_strangers_lay_beside_the_answers_is_no_answer(store: Store) -> None:
    Answers(store).give([answer(2, "refund")])
    for name in ("notes.txt", "part-7.arrow.bak", "sub/part-00009.arrow"):
        store.create(f"{layout.PEOPLE}/{name}", b"x")
    assert [each.answer for each in Answers(store).by_item.values()] == ["refund"]


def test_a_copy_is_not_asked_about_and_takes_the_answer_of_its_original(tmp_path: Path) -> None:
    held = {"route": "review", "answer": None, "reason": "Claude declined", "confidence": None}
    store = review_run(tmp_path / "run", copies=[accepted(8, **held, duplicate_of=item(2))])
    chosen = open_asked(store.root).chosen(with_withheld=False, with_answered=True)
    assert chosen == [item(number) for number in REVIEW], "a copy has no text of its own to show"
    assert result_rows(store.root).waiting() == len(REVIEW)
    Answers(store).give([answer(2, "refund", "bob")])
    assert result_rows(store.root).waiting() == len(REVIEW) - 1
    rows = {row["item_id"]: row for row in result_rows(store.root, ["item_id", "answer", "person"]).rows()}
    assert [(rows[item(n)]["answer"], rows[item(n)]["person"]) for n in (2, 8)] == [("refund", "bob")] * 2
    shown = {row["item_id"]: row for row in samples(read_run(store, with_texts=True))}
    assert (shown[item(8)]["answer"], shown[item(8)]["text"]) == ("refund", ["text of 2"])
