"""What complete code reviews teach their verification: whose word counts for which claim, and how it is judged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flows.deciding.adapting import _problem
from flows.deciding.lessons import lesson_of
from flows.deciding.review_labels import read_labelled_reviews
from flows.preflight.surroundings import check_surroundings
from flows.questions.code_review import ReviewQuestion
from flows.run import Run, prepare_run
from flows.stages.planning import plan_documents
from pipelines.adapting.labels import Division, Source
from pipelines.adapting.reviews import LabelledReview
from pipelines.errors import JobError
from pipelines.job.job import Job
from pipelines.job.sections import ModelSource
from pipelines.people.answers import Answer, Answers
from pipelines.scored_parts import items_of_plan, scored_part
from pipelines.settings import settings
from pipelines.store import layout
from pipelines.store.schemas import RESULTS, from_arrow, to_arrow, to_parquet
from pipelines.tasks.code_review.verification import VERIFICATION_ONLY
from tests.adapter_files import write_adapter
from tests.faults.escalation_case import quiet
from tests.workers.engines.test_reviews import ScriptedEngine, answer
from workers.engines.adapters import CARD, Adapter
from workers.engines.catalogue import resolve_model
from workers.engines.reviews import Reviewer
from workers.engines.tokens import TextTokenizer

DIFF = "--- a/shop/{0}.py\n+++ b/shop/{0}.py\n@@ -1,2 +1,3 @@\n def find(name):\n+    b = {1}\n     return name\n"
DOCUMENTS = ("both", "clean", "missed", "wrong", "secret")
# Of each document, the lines at which the engine reports an injection.
REPORTED = {"both": [2, 3], "clean": [], "missed": [], "wrong": [2], "secret": [2]}
FAULTY = {"both": [2], "clean": [], "missed": [2], "wrong": [], "secret": [2]}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path / "state"))
    settings.cache_clear()


def place(document: str, line: int, category: str = "sql-injection") -> dict[str, Any]:
    return {"path": f"shop/{document}.py", "line": line, "end_line": line, "category": category}


def finding(document: str, line: int, category: str = "sql-injection") -> dict[str, Any]:
    return place(document, line, category) | {"severity": "high", "message": "It is.", "suggestion": ""}


def write_faults(folder: Path, faulty: dict[str, list[int]]) -> Path:
    rows = [
        {"document_id": f"{document}.diff"} | row
        for document, lines in faulty.items()
        for row in [place(document, line) for line in lines] or [{}]
    ]
    path = folder / "faults.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def review_job(folder: Path, **changes: Any) -> Job:
    """Of the documents, by the sample model."""
    (folder / "diffs").mkdir()
    for number, document in enumerate(DOCUMENTS):
        (folder / f"diffs/{document}.diff").write_text(DIFF.format(document, number))
    return Job.model_validate(
        {
            "name": "reviews",
            "task": "code_review",
            "input": str(folder / "diffs"),
            "output": str(folder),
            "model": "review-starter",
            "quality": {"raw_threshold": 0.6},
            "escalation": {"model": "claude-haiku-5-5", "provider": "simulation"},
            "evaluation": {"faults_file": str(write_faults(folder, FAULTY))},
        }
        | changes
    )


def reviewed(
    folder: Path, rows: dict[str, dict[str, Any]] | None = None, unreadable: Sequence[str] = (), **changes: Any
) -> Run:
    """A complete run, of which the rows say what became of some documents; of some, the engine wrote no review."""
    job = review_job(folder, **changes)
    run = prepare_run(job, check_surroundings(job), "run")
    assert plan_documents(run, quiet()).shards == 1
    plan = run.store.read(layout.plan_part(0))
    assert isinstance(run.question, ReviewQuestion)
    names = [each.removesuffix(".diff") for each in from_arrow(plan)["document_id"].to_pylist()]
    texts = TextTokenizer(run.question.tokenizer.json)
    written = [
        "I cannot." if name in unreadable else answer(*(finding(name, line) for line in REPORTED[name]))
        for name in names
    ]
    engine = ScriptedEngine(written, lambda claim: float(np.log(0.8)), run.question.tokenizer._text.decode)
    review = Reviewer(engine, run.question.review_settings, texts.encode_documents).review(from_arrow(plan))
    run.store.create(layout.predictions_part(0), to_arrow(scored_part(items_of_plan(plan), review)))
    ids = dict(zip(names, from_arrow(plan)["item_id"].to_pylist(), strict=True))
    made = [
        {name: None for name in RESULTS.names}
        | {"item_id": ids[name], "document_id": f"{name}.diff", "document_uri": "u", "document_offset": 0}
        | {"task": "code_review", "route": "accepted", "answer": "faulty", "run_id": "run", "raw_prob": 0.8}
        | {"label_mass": 1.0, "settled_at": datetime.now(UTC)}
        | (rows or {}).get(name, {})
        for name in names
    ]
    table = pa.Table.from_pylist(made, schema=RESULTS)
    run.store.create(f"{layout.RESULTS}/part-00000.parquet", to_parquet(table))
    run.store.create(layout.COMPLETE, b"{}")
    return run


def known(run: Run, *sources: Source) -> dict[str, LabelledReview]:
    names = from_arrow(run.store.read(layout.plan_part(0)), ["item_id", "document_id"]).to_pylist()
    of_id = {row["item_id"]: row["document_id"].removesuffix(".diff") for row in names}
    return {of_id[each.item_id]: each for each in read_labelled_reviews(run, sources)}


def told(labelled: dict[str, LabelledReview]) -> dict[str, tuple[str, tuple[bool | None, ...]]]:
    return {name: (each.source, each.is_true) for name, each in labelled.items()}


def test_known_faults_bear_out_findings_reject_others_and_tell_of_silence(tmp_path: Path) -> None:
    found = known(reviewed(tmp_path), "gold")
    assert told(found) == {
        "both": ("gold", (True, False)),
        "clean": ("gold", (True,)),
        "missed": ("gold", (False,)),
        "wrong": ("gold", (False,)),
        "secret": ("gold", (True,)),
    }
    assert {name: each.label for name, each in found.items()} == {
        name: 0 if lines else 1 for name, lines in FAULTY.items()
    }


def test_claudes_list_teaches_only_when_named_and_a_verdict_of_people_where_it_leaves_no_choice(tmp_path: Path) -> None:
    list_of_claude = [finding("both", 3) | {"raw_prob": None, "confidence": None}]
    rows = {
        "both": {"route": "escalated", "answer": "faulty", "findings": list_of_claude},
        "clean": {"route": "escalated", "answer": "clean", "findings": []},
        "missed": {"route": "review", "answer": None},
        "wrong": {"route": "review", "answer": None},
        "secret": {"route": "review", "answer": None},
    }
    run = reviewed(tmp_path, rows, evaluation=None, escalation="off")
    ids = {name: each for name, each in zip(DOCUMENTS, _ids(run), strict=True)}
    now = datetime.now(UTC)
    Answers(run.store).give(
        [
            Answer(ids[name], verdict, "ann", now, "screen")
            for name, verdict in (("missed", "faulty"), ("wrong", "clean"), ("secret", "faulty"))
        ]
    )
    assert told(known(run, "gold", "people")) == {
        "missed": ("people", (False,)),
        "wrong": ("people", (False,)),
        "secret": ("people", (None,)),
    }
    assert told(known(run, "claude")) == {"both": ("claude", (False, True)), "clean": ("claude", (True,))}
    lesson = lesson_of(run.question)
    division = Division(tuple(known(run, "people", "claude").values()), ())
    assert lesson.counts(division) == {"training": {"claude": 3, "people": 2}, "held_back": {}}
    assert [each.label for each in lesson.examples(division.training)] == [1, 0, 0, 1, 1]


def _ids(run: Run) -> list[str]:
    plan = from_arrow(run.store.read(layout.plan_part(0)), ["item_id", "document_id"]).to_pylist()
    of_name = {row["document_id"].removesuffix(".diff"): row["item_id"] for row in plan}
    return [of_name[name] for name in DOCUMENTS]


def test_what_may_not_be_sent_teaches_nothing(tmp_path: Path) -> None:
    assert known(reviewed(tmp_path, policy={"never_escalate": "true"}), "gold", "claude") == {}


def test_known_faults_that_say_something_else_by_now_teach_nothing(tmp_path: Path) -> None:
    run = reviewed(tmp_path)
    write_faults(tmp_path, FAULTY | {"wrong": [2]})
    with pytest.raises(
        JobError, match=r"run: '.*faults.jsonl' says something else of wrong.diff than when the run was"
    ):
        known(run, "gold")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[int]]:
    """In torch's place: every claim is true with this probability."""
    asked: list[int] = []

    def install(true_share: float) -> list[int]:
        def score(network: Any, frame: Any, documents: Sequence[Any], on_scored: Any) -> Any:
            asked.extend(map(len, documents))
            return np.log(np.tile(np.array([true_share, 1 - true_share], np.float32), (len(documents), 1)))

        monkeypatch.setitem(sys.modules, "workers.adapting.network", SimpleNamespace(score=score))  # type: ignore[arg-type]  # no torch
        return asked

    return install


def test_verdicts_follow_from_the_claims_as_the_adapter_answers_them(
    tmp_path: Path, scored: Callable[[float], list[int]]
) -> None:
    run = reviewed(tmp_path)
    lesson, held = lesson_of(run.question), list(known(run, "gold").values())
    assert (lesson.task, lesson.answers) == (VERIFICATION_ONLY, ("true", "false"))
    asked = scored(0.9)
    logprobs = lesson.logprobs(None, held)
    assert asked == [len(claim.tokens) for each in held for claim in each.claims]
    assert lesson.prompts(held) == len(asked) == 6
    has_findings = [bool(each.review["findings"]) for each in held]
    assert logprobs.argmax(axis=1).tolist() == [0 if has else 1 for has in has_findings]
    assert np.exp(logprobs.max(axis=1)).tolist() == pytest.approx([0.9] * 5)
    scored(0.2)
    assert lesson.logprobs(None, held).argmax(axis=1).tolist() == [1] * 5, "no finding stands"


def test_a_review_that_another_kind_of_adapter_wrote_teaches_nothing(tmp_path: Path) -> None:
    run = reviewed(tmp_path)
    assert _problem(run, run) is None
    foreign = Adapter("theirs", "lora-1", tmp_path, 8)
    for adapter, is_refused in ((foreign, True), (replace(foreign, task=VERIFICATION_ONLY), False)):
        model = replace(run.model, adapter=adapter)
        asked = replace(run, question=ReviewQuestion(run.job, model))
        assert ("were written with an adapter of another kind" in (_problem(asked, asked) or "")) is is_refused


def test_an_adapter_of_tickets_is_refused_for_a_review_before_anything_is_committed(tmp_path: Path) -> None:
    tickets = write_adapter(tmp_path / "tickets")
    card = {"base_revision": resolve_model("starter").revision, "task": "classification"}
    (tickets / CARD).write_text(json.dumps(card))
    job = review_job(tmp_path, model=ModelSource(source="starter", adapter=str(tickets)))
    with pytest.raises(JobError, match="is for classification, and this job is a code review; name one"):
        prepare_run(job, check_surroundings(job), "run")
    assert not any((tmp_path / "run").iterdir())
