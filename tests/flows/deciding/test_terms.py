"""The chain in which the runs of a term are counted: one place each, whatever is killed and whoever is first."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from flows.console.progress import ProgressReporter
from flows.deciding.terms import RunTerm, begin_term, begun_term, why_alone
from flows.estimate import estimate_job
from flows.estimate.sample import estimate_from_sample
from pipelines.cascade.rule.strike_limits import Standing
from pipelines.cascade.rule.target import Target
from pipelines.errors import JobError
from pipelines.job.sections import Quality
from pipelines.store import layout
from pipelines.store.objects import Store
from tests.job.job_case import CLAUDE, GOOD, path

__all__ = ["path"]

PROMISE = Target(0.8, 0.9, audit_items=50)


def a_run(folder: Path, name: str, *, term_items: int | None = 300, asked: str = "claude-haiku-5-5") -> Any:
    quality = Quality(target=0.8, assurance=0.9, term_items=term_items)
    tiers = SimpleNamespace(all_tiers=[SimpleNamespace(model=asked)])
    return SimpleNamespace(
        run_id=name,
        store=Store(str(folder / name)),
        question=SimpleNamespace(model=None),
        job=SimpleNamespace(
            name="tickets", output=str(folder), quality=quality, labels={"a": None, "b": None}, escalation=tiers
        ),
        record=SimpleNamespace(model="m", model_revision="r", prompt_fingerprint="p", versions={}),
    )


def begin(run: Any, items: int = 100) -> RunTerm:
    term = begin_term(run, PROMISE, items)
    assert term is not None
    return term


def strikes(*places: int, stretch: int = 60) -> np.ndarray:
    return np.isin(np.arange(stretch), places)


def test_runs_are_counted_one_behind_the_other(tmp_path: Path) -> None:
    first, second = (begin(a_run(tmp_path, name)) for name in ("first", "second"))
    assert second.planned == Standing()  # begun before the first was counted
    assert first.count(strikes(5)).after == Standing(100, 1)
    counted = second.count(strikes(3, 7))
    assert (counted.before, counted.after) == (Standing(100, 1), Standing(200, 3))
    assert begin(a_run(tmp_path, "third")).planned == Standing(200, 3)
    place = second.place()
    assert place is not None
    assert (place.run_id, place.term, place.runs) == ("second", 1, 2)


def test_a_run_that_was_killed_after_it_was_counted_finds_its_place_and_takes_no_second(tmp_path: Path) -> None:
    run = a_run(tmp_path, "killed")
    counted = begin(run).count(strikes(5))
    begin(a_run(tmp_path, "other")).count(strikes(1, 2, 3))
    again = begun_term(run, PROMISE, 100)
    assert again is not None
    assert again.planned == Standing()
    assert again.count(strikes(5)) == counted
    assert len(list(Store(str(tmp_path)).list("_terms/tickets"))) == 2


def test_a_race_for_a_place_is_lost_by_one_who_takes_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = begin(a_run(tmp_path, "mine")), begin(a_run(tmp_path, "other"))
    create, raced = Store.create, []

    def overtaken(store: Store, key: str, data: bytes) -> bool:
        if not raced:
            raced.append(key)
            other.count(strikes(4))
        return create(store, key, data)

    monkeypatch.setattr(Store, "create", overtaken)
    counted = mine.count(strikes(9))
    assert raced[0].endswith("000000.json")
    assert (counted.before, counted.after) == (Standing(100, 1), Standing(200, 2))


def test_a_term_that_has_no_room_is_followed_by_a_new_one(tmp_path: Path) -> None:
    for number in range(3):
        begin(a_run(tmp_path, f"run-{number}")).count(strikes(1))
    fourth = begin(a_run(tmp_path, "fourth"))
    assert fourth.planned == Standing()
    assert fourth.count(strikes()).after == Standing(100, 0)
    place = fourth.place()
    assert place is not None
    assert (place.term, place.runs) == (2, 1)


def test_a_run_larger_than_a_term_keeps_its_promise_alone_and_says_why(tmp_path: Path) -> None:
    run = a_run(tmp_path, "large")
    assert begin_term(run, PROMISE, 301) is None
    assert why_alone(run) == "it has 301 items, and a term 300"


def test_a_run_of_a_job_without_terms_is_of_none_and_writes_nothing(tmp_path: Path) -> None:
    run = a_run(tmp_path, "alone", term_items=None)
    assert begin_term(run, PROMISE, 100) is None
    assert why_alone(run) is None
    assert not run.store.exists(layout.TERM)


def test_what_another_claude_answers_is_promised_in_another_term(tmp_path: Path) -> None:
    begin(a_run(tmp_path, "first")).count(strikes(1))
    assert begin(a_run(tmp_path, "second", asked="claude-opus-5")).planned == Standing()


def test_a_place_that_cannot_be_read_or_is_missing_stops_the_run_and_is_named(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        begin(a_run(tmp_path, name)).count(strikes(1))
    first, second, third = sorted((tmp_path / "_terms" / "tickets").glob("*/*.json"))
    third.write_text("{}")
    with pytest.raises(JobError) as raised:
        begin(a_run(tmp_path, "fourth"))
    assert f"{third} is no place of a term" in str(raised.value)
    first.unlink()  # of three there are two, and the last of two is not there any more
    second.unlink()
    third.rename(second.with_name("000007.json"))
    with pytest.raises(JobError) as raised:
        begin(a_run(tmp_path, "fifth"))
    assert f"{first} is no place of a term, and what may stand follows from it; restore it" in str(raised.value)


@pytest.mark.parametrize("ways", ["pilot", "sample"])
def test_one_run_of_a_term_is_no_estimate_and_is_refused_before_anything_is_bought(path: Path, ways: str) -> None:
    text = GOOD.replace("{raw_threshold: 0.9}", "{target: 0.9, term_items: 500}").replace("escalation: off", CLAUDE)
    path.write_text(text)
    progress = ProgressReporter(Console(file=io.StringIO()))
    with pytest.raises(JobError) as raised:
        if ways == "pilot":
            estimate_job(path, {}, progress)
        else:
            estimate_from_sample(path, {}, 50, False, progress)
    assert "quality.term_items: what a run asks depends on what the runs before it have left" in str(raised.value)
