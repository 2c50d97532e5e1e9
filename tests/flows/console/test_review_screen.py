"""The screen that asks people: what each key does, what it shows at any size, and what it never does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from flows.console.keys import DOWN, END, UP
from flows.console.review_screen import LABEL_KEYS, ReviewScreen
from pipelines.people.answers import Answers
from pipelines.people.waiting import open_asked
from pipelines.store.objects import Store
from tests.people.review_case import AT, answer, item, review_run

HOSTILE = "\x1b[2J\x1b]0;title\x07\r\nnext\u202eline\x9b31m 日本語 " + "word " * 300


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return review_run(tmp_path / "run", {2: HOSTILE, 4: "second", 5: "third"}, reason="Claude\x1b[0m declined\nit")


def opened(store: Store, person: str = "ann", *, with_answered: bool = False) -> ReviewScreen:
    asked = open_asked(store.root)
    chosen = asked.chosen(with_withheld=False, with_answered=with_answered)
    return ReviewScreen(asked, chosen, person, lambda: AT)


def shown(screen: ReviewScreen, width: int = 80, height: int = 24) -> str:
    return "\n".join(line.plain for line in screen.lines(width, height))


def kept(store: Store) -> dict[str, str]:
    return {item_id: each.answer for item_id, each in Answers(store).by_item.items()}


def test_an_answer_is_kept_before_the_next_item_is_shown(store: Store) -> None:
    screen = opened(store)
    assert "item 1 of 3   0 answered" in shown(screen)
    assert screen.press("2")
    assert kept(store) == {item(2): "refund"}
    assert "item 2 of 3   1 answered" in shown(screen)
    assert "kept: refund" in shown(screen)
    given = Answers(store).by_item[item(2)]
    assert (given.person, given.tool, given.answered_at) == ("ann", "screen", AT)


def test_skip_leaves_an_item_open_and_back_changes_an_answer(store: Store) -> None:
    screen = opened(store)
    for key in ("1", "s", "b", "b"):
        screen.press(key)
    assert "answered: billing, by ann on 2026-11-27 12:00 UTC" in shown(screen)
    screen.press("2")
    assert kept(store) == {item(2): "refund"}
    assert Answers(store).by_item[item(2)].replaces == "billing"
    assert screen.kept == 2


def test_behind_the_last_item_one_may_go_back_and_quit_but_answer_nothing(store: Store) -> None:
    screen = opened(store)
    for key in ("s", "s", "1"):
        screen.press(key)
    assert "That was the last item." in shown(screen)
    assert "? labels" not in shown(screen)
    screen.press("1")
    assert len(kept(store)) == 1
    screen.press("b")
    assert "item 3 of 3" in shown(screen)
    assert not screen.press("q")
    assert not screen.press(END)


def test_keys_that_mean_nothing_do_nothing(store: Store) -> None:
    screen = opened(store)
    for key in ("3", "x", "\t", "\x00", "é"):
        assert screen.press(key)
        assert "no such key" in shown(screen)
    assert kept(store) == {}


def test_no_label_takes_a_key_of_the_screen() -> None:
    assert len(set(LABEL_KEYS)) == len(LABEL_KEYS)
    assert not set(LABEL_KEYS) & set("sbq? ")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("height", [12, 24, 60])
def test_it_fits_and_shows_what_a_terminal_would_obey(store: Store, width: int, height: int) -> None:
    screen = opened(store)
    for _ in range(5):
        lines = screen.lines(width, height)
        assert len(lines) <= height
        assert max(cell_len(line.plain) for line in lines) <= width
        text = "".join(line.plain for line in lines)
        assert [char for char in text if not char.isprintable()] == []
        assert "1 billing" in text and "2 refund" in text and "q quit" in text
        screen.press(DOWN)
    first = opened(store)
    assert r"\x1b[2J\x1b]0;title\x07" in "".join(line.plain for line in first.lines(width, 60))


def test_a_long_text_is_read_page_by_page_and_back(store: Store) -> None:
    screen = opened(store)
    before = shown(screen)
    first = re.search(r"── lines 1-(\d+) of (\d+): space, arrows ──", before)
    assert first
    last, of = map(int, first.groups())
    screen.press(DOWN)
    assert f"lines {last + 1}-{of} of {of}" in shown(screen)
    screen.press(DOWN)
    shown(screen)
    screen.press(UP)
    screen.press(UP)
    assert shown(screen) == before


def test_the_labels_with_what_they_mean_are_one_key_away(tmp_path: Path) -> None:
    labels = {f"label-{number}": f"what {number} means" for number in range(10, 50)}
    store = review_run(tmp_path / "run", job={"labels": labels}, engine_answer="label-10")
    screen = opened(store)
    assert "… ? shows all 40 labels" in shown(screen, 40)
    screen.press("?")
    assert "1 label-10: what 10 means" in shown(screen, 40)
    screen.press("?")
    assert "text of 2" in shown(screen, 40)
    screen.press(LABEL_KEYS[39])
    assert kept(store) == {item(2): "label-49"}


def test_an_item_that_somebody_else_answered_meanwhile_is_told_and_not_overwritten(store: Store) -> None:
    screen = opened(store)
    shown(screen)
    Answers(store).give([answer(2, "refund", "bob")])
    screen.press("1")
    assert kept(store) == {item(2): "refund"}
    assert "bob has answered 'refund' meanwhile; the same key again changes it" in shown(screen, 100)
    screen.press("1")
    assert kept(store) == {item(2): "billing"}


def test_what_others_answer_meanwhile_is_not_asked_again(store: Store) -> None:
    screen = opened(store)
    Answers(store).give([answer(4, "refund", "bob")])
    screen.press("1")
    assert "item 3 of 3   2 answered" in shown(screen)
    assert "third" in shown(screen)


def test_with_again_all_are_shown_with_their_answers(store: Store) -> None:
    Answers(store).give([answer(2, "refund", "bob")])
    assert "item 1 of 2" in shown(opened(store))
    assert "answered: refund, by bob" in shown(opened(store, with_answered=True))
