"""What is shown of a stage: numbers that add up, a pace that means something, and no line of anybody else."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest
from rich.console import Console

from flows.console import progress
from flows.console.progress import ProgressReporter, Stage, span


def reporter(*, is_terminal: bool = False) -> tuple[ProgressReporter, io.StringIO]:
    written = io.StringIO()
    return ProgressReporter(Console(file=written, width=100, force_terminal=is_terminal)), written


def stage(seconds: float, **given: object) -> Stage:
    fields = {"name": "score", "unit": "items", "total": 2_000} | given
    return Stage(**fields, started_at=time.monotonic() - seconds)  # type: ignore[arg-type]  # of many types


def test_a_resumed_stage_never_shows_more_than_there_is_and_counts_exactly_what_it_did() -> None:
    told, written = reporter()
    with told.stage("score", "items", 2_000, before=1_222) as under_way:
        under_way.advance(780)  # 1,220 had been done: by shards, it is only known about
        assert under_way.amount() == "2,000 of 2,000 items"
    assert written.getvalue().startswith("score           780 items in ")
    assert written.getvalue().endswith("; the other 1,220 were done before\n")


def test_the_pace_is_of_what_was_done_since_the_stage_began() -> None:
    assert stage(10, before=1_000, counted=500).pace() == "50/s, 10 s left"
    assert stage(10, before=1_000).pace() == "10 s so far", "and there is none before something is done"
    assert stage(3_600, total=30, counted=10).pace() == "10.0/h, 2 h 00 min left"
    assert stage(60, total=None, counted=90).pace() == "1.5/s"


def test_while_somebody_else_works_the_time_is_told_and_what_it_usually_takes() -> None:
    asked = stage(700, total=143, counted=40, waits_for="most take under an hour")
    assert asked.describe() == "score: 40 of 143 items, 12 min so far, most take under an hour"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (125, "2 min"), (7_100, "118 min"), (11_100, "3 h 05 min")]
)
def test_a_length_of_time_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_stage_without_anything_to_do_leaves_no_line(is_terminal: bool) -> None:
    told, written = reporter(is_terminal=is_terminal)
    with told.stage("publish", "items"):
        pass
    assert " items in " not in written.getvalue()


def test_what_others_print_meanwhile_is_not_drawn_into_the_terminal() -> None:
    told, written = reporter(is_terminal=True)
    before = sys.stdout, sys.stderr
    with told.stage("score", "items", 10):
        assert (sys.stdout, sys.stderr) == before
    with told.waiting("engines", "2 starting"):
        assert (sys.stdout, sys.stderr) == before
    assert "2 starting" in written.getvalue()


def test_a_log_hears_what_is_waited_for_and_then_only_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.01)
    told, written = reporter()
    with told.waiting("prefect", "its temporary server starts"):
        time.sleep(0.2)
    assert written.getvalue() == "prefect: its temporary server starts, 0 s so far\n"


def test_after_the_last_line_of_an_interrupted_command_nothing_is_shown() -> None:
    told, written = reporter(is_terminal=True)
    with told.stage("score", "items", 10) as under_way:
        told.give_up()
        shown = written.getvalue()
        under_way.advance(5)
        told.say("an engine is lost")
    assert written.getvalue() == shown


@pytest.mark.parametrize("is_terminal", [False, True])
def test_two_stages_side_by_side_are_both_shown_and_each_ends_with_its_own_line(is_terminal: bool) -> None:
    told, written = reporter(is_terminal=is_terminal)
    with told.stage("plan", "documents") as plan:
        plan.advance(30)
        with told.stage("score", "items") as score:
            score.advance(10)
            score.becomes_known(40, before=20)
            assert score.amount() == "30 of 40 items"
            plan.advance(10)
    told_of = re.findall(r"(score|plan) +(\d+) (?:items|documents) in \d", written.getvalue())
    assert told_of == [("score", "10"), ("plan", "40")]


def test_sentences_are_broken_between_words_and_commands_not_at_all() -> None:
    told, written = reporter(is_terminal=True)
    told.say("warning   " + "a word of some " * 7 + "length")
    told.say("next      pipeline resume /" + "a folder/" * 10)
    told.say("log       /" + "x" * 150)
    assert written.getvalue().splitlines() == [
        "warning   " + ("a word of some " * 6).rstrip(),
        "          a word of some length",
        "next      pipeline resume /" + "a folder/" * 10,
        "log       /" + "x" * 150,
    ]
