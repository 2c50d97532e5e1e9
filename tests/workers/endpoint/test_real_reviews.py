"""vLLM's own server and the sample review model, on a CPU: the rows of an engine of the run's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.questions.code_review import ReviewQuestion
from flows.questions.review_over_http import ReviewOverHttpQuestion
from pipelines.documents.code.inputs import read_code
from pipelines.documents.records import Document, RowColumns
from pipelines.documents.sources.own_places import OwnPlaces
from pipelines.documents.sources.sources import list_sources
from pipelines.job.job_file import load_job
from pipelines.job.sections import ModelSource
from pipelines.predictions import read_predictions
from pipelines.scored_parts import predictions_of
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow, to_arrow
from pipelines.tasks.code_review.answers import engine_answer_schema
from tests.workers.endpoint.asked import endpoint
from tests.workers.endpoint.vllm_serve import vllm_serve
from workers.endpoint.client import FirstTierClient
from workers.endpoint.review_probe import probe_review
from workers.endpoint.reviews import ReviewScorer
from workers.endpoint.served import resolved
from workers.engines.catalogue import catalogue, resolve_model
from workers.engines.engine import ReviewEngine
from workers.engines.reviews import Reviewer

# Two loads of the model, on a machine that may be busy.
pytestmark = [pytest.mark.engine, pytest.mark.prove, pytest.mark.filterwarnings("ignore")]

REPOSITORY = Path(__file__).parents[3]
JOB = load_job(REPOSITORY / "sample_data/jobs/review.yaml")
WEIGHTS = REPOSITORY / "sample_data/review_model"
CONTEXT = 1_536  # so short that the long change is read in pieces
WITHOUT_SPACES = '--structured-outputs-config={"backend": "xgrammar", "disable_any_whitespace": true}'
VERDICTS = ("faulty", "clean")


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    sources = list_sources(str(REPOSITORY / "sample_data/code/diffs"))[:24]
    read = read_code(JOB.input, sources, JOB.reviews, RowColumns(), JOB.limits.max_document_bytes, OwnPlaces())
    found = [each for each in read if isinstance(each, Document)]
    long = '@file "shop/long.py" added\n@@\n' + "".join(
        f"{number}+|    value_{number} = query(name, {number}) + other(value_{number - 1})\n" for number in range(1, 90)
    )
    return [*found, Document("long", "in.jsonl", 0, long, None, None)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with vllm_serve(WEIGHTS, "reviewer", log, f"--max-model-len={CONTEXT}", WITHOUT_SPACES) as address:
        yield address


def over_http(folder: Path, address: str, documents: list[Document]) -> pa.Table:
    asked = endpoint(endpoint=address, name="reviewer")
    client = FirstTierClient(asked)
    served = probe_review(asked, JOB.instructions, client, date(2026, 11, 27))
    assert served.server == "vllm 0.32.0" and served.context_tokens == CONTEXT
    question = ReviewOverHttpQuestion(JOB.model_copy(update={"model": asked}), resolved(asked, served))
    store = Store(str(folder))
    (plan,) = question.shards(iter(documents), 10**9, lambda _: None)
    store.create(layout.plan_part(0), to_arrow(plan))
    scorer = ReviewScorer(store.root, question.first_tier, question.review_settings, question.document_tokens, client)
    try:
        scorer.score(0)
    finally:
        scorer.close()
    return predictions_of(from_arrow(store.read(layout.predictions_part(0))))


def in_process(documents: list[Document]) -> pa.Table:
    model = resolve_model(ModelSource(source=str(WEIGHTS), engine={"max_model_len": CONTEXT}))
    question = ReviewQuestion(JOB, model)
    (plan,) = question.shards(iter(documents), 10**9, lambda _: None)
    cpu = catalogue().devices["cpu"]
    os.environ.update(cpu.environment)
    settings = question.review_settings
    arguments: dict[str, Any] = {**cpu.engine, **model.engine, "enforce_eager": True}
    engine = ReviewEngine(
        model.weights, arguments, settings.frame.codes, engine_answer_schema(), settings.max_output_tokens
    )
    try:
        return Reviewer(engine, settings, question.tokenizer.encode_documents).review(plan)
    finally:
        engine.close()


def test_the_rows_are_those_of_an_engine_of_the_runs_own(
    address: str, documents: list[Document], tmp_path: Path
) -> None:
    tables = over_http(tmp_path, address, documents), in_process(documents)
    found, expected = (table.to_pylist() for table in tables)
    assert sum(len(row["findings"]) for row in expected) > 5, "nothing to compare"
    assert found[-1]["verification_input_tokens"] > CONTEXT, "the long change was not read in pieces"
    for one, other in zip(found, expected, strict=True):
        for name in ("item_id", "failure", "unfinished", "note", "dropped_findings", "input_tokens", "output_tokens"):
            assert one[name] == other[name], (one["item_id"], name)
        said = [[{**each, "true_logprob": 0, "false_logprob": 0} for each in row["findings"]] for row in (one, other)]
        assert said[0] == said[1], one["item_id"]
    read = [read_predictions(table, VERDICTS, None).scores for table in tables]
    assert read[0].answer.tolist() == read[1].answer.tolist()
    assert read[0].raw_prob == pytest.approx(read[1].raw_prob, abs=0.01)  # of bfloat16, by what shares a batch
    assert read[0].label_mass == pytest.approx(read[1].label_mass, abs=0.01)
