"""The store of one question: to whoever opens it, that of any run; where its objects lie is told by no key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.errors import RunNotFoundError
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.question_store import QuestionStore
from pipelines.store.runs import open_store, question_stores


@pytest.fixture(params=["folder", "s3"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    root = tmp_path if request.param == "folder" else f"{request.getfixturevalue('s3').uri}/out"
    store = Store(f"{root}/run_a")
    store.create(layout.RUN, json.dumps({"run_id": "run_a", "questions": ["topic", "fits.01"]}).encode())
    for question in ("topic", "fits.01"):
        record = json.dumps({"run_id": f"run_a.{question}"}).encode()
        QuestionStore(store, question).create(layout.RUN, record)
    return store


def test_the_plan_is_the_runs_and_all_else_is_the_questions_own(run: Store) -> None:
    topic, fits = QuestionStore(run, "topic"), QuestionStore(run, "fits.01")
    run.create(layout.plan_part(0), b"plan")
    assert topic.read(layout.plan_part(0)) == fits.read(layout.plan_part(0)) == b"plan"
    topic.create(layout.predictions_part(0), b"topic")
    fits.create(layout.predictions_part(0), b"fits")
    assert run.read("questions/topic/predictions/part-00000.arrow") == b"topic"
    assert not run.exists(layout.predictions_part(0))
    assert topic.uri(layout.SUMMARY) == run.uri("questions/topic/summary.json")
    assert topic.run_root == run.run_root == run.root != topic.root, "who works on the run works on its questions"
    topic.create("carried.arrow", b"columns")
    assert fits.exists(layout.CARRIED)


def test_the_rows_of_all_questions_lie_below_the_runs_results(run: Store) -> None:
    topic, fits = QuestionStore(run, "topic"), QuestionStore(run, "fits.01")
    topic.create(layout.accepted_results(0), b"a")
    fits.create(layout.escalated_results(3), b"b")
    assert set(run.list(layout.RESULTS)) == {
        "results/topic/part-00000-scored.parquet",
        "results/fits.01/part-00003-escalated.parquet",
    }
    assert list(topic.list(layout.RESULTS)) == [layout.accepted_results(0)]
    with fits.opened(layout.escalated_results(3)) as file:
        assert file.read() == b"b"


def test_what_is_listed_comes_back_under_the_keys_that_it_was_created_under(run: Store) -> None:
    topic = QuestionStore(run, "topic")
    keys = [layout.chunk_object(number, "intent-00.json") for number in range(3)]
    for key in keys:
        topic.create(key, b"{}")
    assert sorted(topic.list(layout.ESCALATIONS)) == keys
    assert [entry.key for entry in topic.listing(layout.ESCALATIONS, keys[0])] == keys[1:]
    run.create(layout.plan_part(0), b"plan")
    assert [entry.key for entry in topic.listing(layout.PLAN)] == [layout.plan_part(0)]


def test_a_question_is_opened_by_its_folder_and_by_its_runs_id(
    run: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = tmp_path / "state" / "runs"
    remembered.mkdir(parents=True)
    (remembered / "run_a").write_text(run.root)
    monkeypatch.setenv("SLUICE_STATE_DIR", str(remembered.parent))
    settings.cache_clear()
    try:
        for name in (f"{run.root}/questions/fits.01", "run_a.fits.01"):
            store = open_store(name)
            assert isinstance(store, QuestionStore)
            assert json.loads(store.read(layout.RUN))["run_id"] == "run_a.fits.01"
        with pytest.raises(RunNotFoundError, match=r"no run 'run_a\.other'"):
            open_store("run_a.other")
        assert [each.question for each in question_stores(open_store("run_a"))] == ["topic", "fits.01"]
        assert question_stores(store) == []
    finally:
        settings.cache_clear()
