"""Small runs that keep one promise together: each asked in part once the term can show enough, and counted once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.escalation.escalate import Escalated
from pipelines.store import layout
from tests.faults.escalation_case import die
from tests.faults.service_case import Case, Prepare, in_process, of_route, routes
from tests.faults.test_quality import SLOW, asked, record_of, settle, settle_by_and_by, settled, wrong

pytestmark = [pytest.mark.processes, pytest.mark.prove]

ITEMS = 150
TERM = {"target": 0.8, "assurance": 0.9, "term_items": 1_000}


def places(run: Case) -> list[dict[str, Any]]:
    """How the runs were counted, in their order."""
    return [json.loads(path.read_text()) for path in sorted((run.folder / "_terms" / "faults").glob("*/*.json"))]


def hand_on(first: Case, then: Case) -> None:
    """As though both were runs of one job, the first complete long ago."""
    shutil.copytree(first.folder / "_terms", then.folder / "_terms")
    (profile,) = (first.folder / "_quality" / "faults").iterdir()
    before = then.folder / "_quality" / "faults"
    before.mkdir(parents=True)
    told = json.loads(profile.read_text()) | {"run_id": "before"}
    (before / "20200101T000000-before.json").write_text(json.dumps(told))
    for path in (then.folder / "_terms" / "faults").glob("*/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"run_id": "before"}))


def settle_and_die_once_counted(root: str, url: str) -> None:
    from flows.deciding import asking

    asking.commit_decisions = lambda *_: die()  # type: ignore[assignment]  # this process does nothing else
    settle(root, url)


@pytest.fixture(scope="module")
def first(module_case: Prepare) -> Case:
    run = module_case(ITEMS, is_informed=True, quality=TERM, folder="first")
    assert settled(run) == Escalated(is_done=True)
    return run


def test_the_first_run_of_a_term_is_asked_in_full_and_saves_what_may_be_wrong(first: Case) -> None:
    record, (place,) = record_of(first), places(first)
    assert routes(first.rows()) == {"escalated": ITEMS}
    assert place["counted"]["after"] == {"items": ITEMS, "strikes": 0}
    assert record["term"] == {"term": 1, "runs": 1, "counted": place["counted"]}
    assert record["statement"].splitlines()[0] == (
        "Promised: agreement with Claude on at least 80 % of the 150 items of the 1 run that term 1 of this job has "
        "counted so far, this one the last of them, so at most 30 may differ; with 90 % assurance, that this is so and "
        "stays so after every run of the term."
    )


def test_the_next_run_asks_a_part_and_is_counted_behind_it(first: Case, case: Prepare) -> None:
    second = case(ITEMS, *SLOW, is_informed=True, quality=TERM, folder="second")
    hand_on(first, second)
    settle_by_and_by(second)
    rows, record = second.rows(), record_of(second)
    assert 20 < len(of_route(rows, "accepted")) < ITEMS
    assert asked(second) == {row["item_id"] for row in of_route(rows, "escalated")}
    assert record["certificate"]["rounds"] <= 2
    assert wrong(rows) <= 0.2 * 2 * ITEMS
    before, own = places(second)
    assert own["counted"]["before"] == before["counted"]["after"] == {"items": ITEMS, "strikes": 0}
    assert own["counted"]["after"]["items"] == 2 * ITEMS
    assert own["counted"]["after"]["strikes"] >= record["certificate"]["prefix_wrong"]
    assert (own["term"], own["runs"]) == (1, 2)
    assert "of the 300 items of the 2 runs that term 1 of this job has counted so far" in record["statement"]
    assert (
        "Prior: 150 labels of run before helped to plan, as far as this run's own bore them out; what is certified "
        "rests on the samples of the term's runs alone."
    ) in record["statement"].splitlines()


def test_a_run_that_dies_once_it_is_counted_decides_the_same_and_is_counted_once(first: Case, case: Prepare) -> None:
    whole = case(ITEMS, is_informed=True, quality=TERM, folder="whole")
    hand_on(first, whole)
    assert settled(whole) == Escalated(is_done=True)
    killed = case(ITEMS, is_informed=True, quality=TERM, folder="killed")
    hand_on(first, killed)
    with pytest.raises(Exception, match="terminated abruptly"):
        in_process(settle_and_die_once_counted, killed.root, killed.server.url)
    assert not Path(killed.root, layout.RULE).exists()
    assert len(places(killed)) == 2
    assert settled(killed) == Escalated(is_done=True)
    assert places(killed) == places(whole)
    assert [row["route"] for row in killed.rows()] == [row["route"] for row in whole.rows()]
    killed.check_costs()
