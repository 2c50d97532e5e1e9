"""Long documents on a real vLLM engine: what only the last window tells is found, and the row is paid for all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from flows.questions.classification import LabelQuestion
from pipelines.documents.records import Document
from pipelines.job.job import Job
from pipelines.job.job_file import load_job
from pipelines.store.schemas import WINDOWS
from pipelines.tasks.window_answers import WindowMerge
from tests.engine_in_process import engine_arguments
from tests.scenarios.pipeline_command import REPOSITORY, TICKETS_JOB
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.requests import ShardScores
from workers.engines.windows import TokenIds, WindowedScores, score_windows

# vLLM, torch and transformers warn about themselves while they load.
pytestmark = [pytest.mark.engine, pytest.mark.prove, pytest.mark.filterwarnings("ignore")]

TICKETS = REPOSITORY / "sample_data/tickets"
# The sample model takes it for a security report, as surely as it takes anything.
SMALL_TALK = (
    "The meeting began at nine in the usual room. The minutes of last time were read and nobody had a remark. The "
    "weather was fine, tea was served, and the garden committee reported on the new benches. "
)
SAYS_NOTHING = "security"


def question(**long_documents: Any) -> LabelQuestion:
    job = load_job(TICKETS_JOB)
    changed = {"long_documents": long_documents} if long_documents else {}
    return LabelQuestion(Job.model_validate(job.model_dump(mode="json") | changed), resolve_model("starter"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Small talk of some pages, and behind it four customers who want their money back."""
    with (TICKETS / "gold.csv").open(newline="") as file:
        gold = {row["id"]: row["label"] for row in csv.DictReader(file)}
    rows = map(json.loads, (TICKETS / "heldout/tickets.jsonl").read_text(encoding="utf-8").splitlines())
    refunds = [row["text"] for row in rows if gold[row["id"]] == "refund"][:24]
    return [SMALL_TALK * 66 + "\n\n" + "\n\n".join(refunds[at : at + 4]) for at in range(0, 24, 4)]


@pytest.fixture(scope="module")
def engine() -> Iterator[LabelEngine]:
    model = resolve_model("starter")
    arguments = engine_arguments(model)
    engine = LabelEngine(model.weights, arguments, question().frame)
    yield engine
    engine.close()


def planned(asked: LabelQuestion, texts: list[str]) -> list[dict[str, Any]]:
    documents = [Document(f"doc-{n}", "in", n, text) for n, text in enumerate(texts)]
    return [row for table in asked.shards(documents, 10**9, lambda document: None) for row in table.to_pylist()]


def tokens_of(rows: list[dict[str, Any]]) -> list[TokenIds]:
    return [np.array(row["tokens"], np.int32) for row in rows]


def score(engine: LabelEngine, rows: list[dict[str, Any]], merge: WindowMerge | None) -> WindowedScores:
    assert merge is not None
    ids = [row["item_id"] for row in rows]
    return score_windows(
        lambda _ids, documents: engine.score(documents).result(),
        ids,
        tokens_of(rows),
        [row[WINDOWS] for row in rows],
        merge,
    )


def answers(asked: LabelQuestion, scores: ShardScores) -> set[str]:
    return {list(asked.job.labels)[place] for place in scores.label_logprobs.argmax(axis=1).tolist()}


def test_what_only_the_last_window_tells_is_found_by_the_surest(engine: LabelEngine, texts: list[str]) -> None:
    cut = question()
    assert answers(cut, engine.score(tokens_of(planned(cut, texts))).result()) == {SAYS_NOTHING}, "it is not read"
    mean = question(how="windows")
    rows = planned(mean, texts)
    assert answers(mean, score(engine, rows, mean.windows).scores) == {SAYS_NOTHING}, "it is outvoted"
    last = [len(row[WINDOWS]) - 1 for row in rows]
    assert min(last) >= 2
    for absent in ({}, {"absent": SAYS_NOTHING}):
        surest = question(how="windows", merge="surest", **absent)
        found = score(engine, rows, surest.windows)
        assert answers(surest, found.scores) == {"refund"}
        assert [None if order is None else int(order[0]) for order in found.orders] == last


def test_tokens_and_time_are_those_of_all_windows(engine: LabelEngine, texts: list[str]) -> None:
    asked = question(how="windows")
    rows = planned(asked, texts)
    scores = score(engine, rows, asked.windows).scores
    windows = [row[WINDOWS] for row in rows]
    frame = len(asked.frame)
    assert scores.input_tokens.tolist() == [sum(frame + each["tokens"] for each in of_item) for of_item in windows]
    assert scores.output_tokens.tolist() == [len(of_item) for of_item in windows]
    assert (scores.device_nanoseconds > 0).all()


def test_a_document_that_fits_is_answered_exactly_as_without_windows(engine: LabelEngine) -> None:
    short = ["The parcel has not arrived, tracking says it is in Rotterdam since Monday."]
    plain, asked = question(), question(how="windows")
    alone = engine.score(tokens_of(planned(plain, short))).result()
    found = score(engine, planned(asked, short), asked.windows)
    np.testing.assert_allclose(found.scores.label_logprobs, alone.label_logprobs, atol=1e-3)
    assert found.orders == [None]


def test_head_and_tail_see_the_end_of_the_document(engine: LabelEngine, texts: list[str]) -> None:
    asked = question(how="head_tail")
    rows = planned(asked, texts)
    assert {len(row["tokens"]) for row in rows} == {asked.document_tokens}
    scores = engine.score(tokens_of(rows)).result()
    assert set(scores.input_tokens.tolist()) == {asked.document_tokens + len(asked.frame)}
