"""What one run of a job learnt is where the next begins: whatever has happened meanwhile, and only if it may."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.deciding.prior import RULE
from flows.escalation.escalate import Escalated
from pipelines.errors import JobError
from pipelines.people.answers import Answers
from pipelines.store import layout
from pipelines.store.objects import Store
from tests.faults.service_case import Case, Prepare, of_route
from tests.faults.test_quality import ITEMS, SLOW, TARGET, record_of, settle_by_and_by, settled, wrong
from tests.made_up_run import accepted, write_run
from tests.people.review_case import answer

pytestmark = pytest.mark.processes

Profile = dict[str, Any]


def profile_of(run: Case) -> Profile:
    """Of a run that is the only one of its job."""
    (path,) = (run.folder / "_quality" / "faults").iterdir()
    profile: Profile = json.loads(path.read_text())
    return profile


def hand_on(profile: Profile, run: Case, name: str = "before", year: int = 2020) -> None:
    """As though a run of the same job had ended long ago."""
    folder = run.folder / "_quality" / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{year}0101T000000-{name}.json").write_text(json.dumps(profile | {"run_id": name}))


def test_the_next_run_begins_with_what_the_last_has_learnt(case: Prepare) -> None:
    first = case(ITEMS, is_informed=True, quality=TARGET)
    assert settled(first) == Escalated(is_done=True)
    record, profile = record_of(first), profile_of(first)
    assert record["prior"] == {"run_id": None, "runs": [], "labels": 0, "reason": None}
    assert "Prior:" not in record["statement"]
    bought = sum(labels for _, _, labels, _ in profile["places"])
    assert bought >= record["certificate"]["pilot"] + record["certificate"]["sample"]

    second = case(ITEMS, *SLOW, is_informed=True, quality=TARGET, folder="second")
    hand_on(profile, second)
    assert settled(second, wait=False) == Escalated(is_done=False)
    chosen = Path(second.root, layout.PRIOR).read_bytes()
    hand_on(profile | {"places": []}, second)  # another run may end meanwhile: nothing is chosen anew
    settle_by_and_by(second)
    assert Path(second.root, layout.PRIOR).read_bytes() == chosen
    rows, again = second.rows(), record_of(second)
    assert again["prior"] == {"run_id": "before", "runs": ["before"], "labels": bought, "reason": None}
    assert again["certificate"]["pilot"] == record["certificate"]["pilot"] // 2
    assert (
        f"Prior: {bought} labels of run before helped to plan, as far as this run's own bore them out; what is "
        "certified rests on this run's labels alone."
    ) in again["statement"].splitlines()
    assert wrong(rows) <= 0.1 * ITEMS
    assert len(of_route(rows, "accepted")) > 100


def test_a_run_learns_from_several_runs_before_it(case: Prepare) -> None:
    first = case(ITEMS, is_informed=True, quality=TARGET)
    assert settled(first) == Escalated(is_done=True)
    third = case(ITEMS, *SLOW, is_informed=True, quality=TARGET, folder="third")
    hand_on(profile_of(first), third, "first", 2020)
    hand_on(profile_of(first), third, "second", 2021)
    settle_by_and_by(third)
    record = record_of(third)
    assert record["prior"]["runs"] == ["second", "first"]
    assert record["certificate"]["rounds"] == 2
    (told,) = [line for line in record["statement"].splitlines() if line.startswith("Prior: ")]
    assert "labels of 2 runs, the last of them second, helped to plan, as far as this run's own bore them out" in told
    assert wrong(third.rows()) <= 0.1 * ITEMS


def test_a_small_run_asks_once_and_teaches_what_it_asked(case: Prepare) -> None:
    run = case(60, is_informed=True, quality=TARGET, escalation={"chunk_items": 400})
    assert settled(run) == Escalated(is_done=True)
    record, profile = record_of(run), profile_of(run)
    assert record["certificate"]["rounds"] == len(list(Path(run.root, "escalations").glob("chunk-*/submitted-*"))) == 1
    assert "no more than may differ, so the promise holds whatever they are" in record["statement"]
    assert sum(labels for _, _, labels, _ in profile["places"]) == 54
    assert record["calibration"]["fitted_on"] == 54
    assert wrong(run.rows()) <= 6


def of_other_versions(profile: Profile) -> Profile:
    fingerprints = profile["fingerprints"]
    return profile | {"fingerprints": fingerprints | {"versions": fingerprints["versions"] | {"torch": "1.0"}}}


def with_other(name: str, value: Any) -> Callable[[Profile], Profile]:
    return lambda profile: profile | {"fingerprints": profile["fingerprints"] | {name: value}}


def test_what_another_engine_or_question_has_taught_is_refused_with_a_reason(case: Prepare) -> None:
    first = case(60, is_informed=True, quality=TARGET)
    assert settled(first) == Escalated(is_done=True)
    refusals: dict[str, Callable[[Profile], Profile]] = {
        "run before was made with another model": with_other("model", "other"),
        "run before was made with another revision of the model": with_other("model_revision", "other"),
        "run before was made with another prompt": with_other("prompt", "other"),
        "run before was made with other labels": with_other("labels", ["other"]),
        "run before was made with another Claude model": with_other("asked", ["other"]),
        "run before was made with other engine arguments": with_other("engine", {"dtype": "other"}),
        "run before was made with torch 1.0": of_other_versions,
        "run before is of an earlier version, which kept nothing to learn from": lambda profile: (
            profile | {"fingerprints": None}
        ),
    }
    for number, (reason, change) in enumerate(refusals.items()):
        run = case(60, *SLOW, is_informed=True, quality=TARGET, folder=f"refused-{number}")
        hand_on(change(profile_of(first)), run)
        assert settled(run, wait=False) == Escalated(is_done=False)
        assert json.loads(Path(run.root, layout.PRIOR).read_text()) == {
            "rule": RULE,
            "reason": reason,
            "runs": [],
        }


def test_a_refusal_is_told_with_the_promise(case: Prepare) -> None:
    first = case(60, is_informed=True, quality=TARGET)
    assert settled(first) == Escalated(is_done=True)
    second = case(60, is_informed=True, quality=TARGET, folder="second")
    hand_on(with_other("prompt", "other")(profile_of(first)), second)
    assert settled(second) == Escalated(is_done=True)
    assert "Prior: none; run before was made with another prompt." in record_of(second)["statement"].splitlines()


def test_a_broken_profile_stops_the_run_before_anything_is_bought(case: Prepare) -> None:
    run = case(60, is_informed=True, quality=TARGET)
    hand_on({}, run)
    with pytest.raises(JobError) as raised:
        settled(run)
    path = run.folder / "_quality" / "faults" / "20200101T000000-before.json"
    assert raised.value.problems == [f"output: {path} is not the profile of a run (6 mistakes); remove it"]
    assert run.creates() == 0


def test_what_people_have_answered_about_the_last_run_counts_among_its_labels(case: Prepare) -> None:
    first = case(60, is_informed=True, quality=TARGET)
    assert settled(first) == Escalated(is_done=True)
    profile = profile_of(first)
    second = case(60, *SLOW, is_informed=True, quality=TARGET, folder="second")
    hand_on(profile, second)
    held = {"route": "review", "answer": None, "engine_answer": profile["labels"][1]}
    write_run(second.folder / "before", [[accepted(number, **held) for number in range(7)]])
    answers = [answer(number, profile["labels"][number % 2]) for number in range(7)]
    Answers(Store(str(second.folder / "before"))).give(answers)
    assert settled(second, wait=False) == Escalated(is_done=False)
    (before,) = json.loads(Path(second.root, layout.PRIOR).read_text())["runs"]
    chosen = before["places"]
    assert chosen[: len(profile["places"])] == profile["places"]
    people = chosen[len(profile["places"]) :]
    assert {code for _, code, _, _ in people} == {1}
    assert (sum(labels for _, _, labels, _ in people), sum(wrong for *_, wrong in people)) == (7, 4)
