"""vLLM's own server and 300 labels, on a CPU: the rows of an engine of the run's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

import workers.endpoint.probe as probe_module
from flows.questions.classification import LabelQuestion
from flows.questions.over_http import OverHttpQuestion
from pipelines.documents.planning import PlanLimits, plan_shards
from pipelines.documents.records import Document
from pipelines.job.job_file import load_job
from pipelines.job.sections import ModelSource
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import from_arrow, to_arrow
from pipelines.tasks.classification import Label
from tests.engine_in_process import engine_arguments
from tests.many_labels import many_coded_model
from tests.workers.endpoint.asked import endpoint
from tests.workers.endpoint.vllm_serve import vllm_serve
from workers.endpoint.client import FirstTierClient
from workers.endpoint.labels import LabelScorer
from workers.endpoint.probe import probe
from workers.endpoint.served import resolved
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine

# Two loads of the model, on a machine that may be busy.
pytestmark = [pytest.mark.engine, pytest.mark.prove, pytest.mark.filterwarnings("ignore")]

CONTEXT = 8_192
LABELS = {f"topic {number}": None for number in range(300)}
JOB = load_job(Path(__file__).parents[3] / "sample_data/jobs/tickets.yaml").model_copy(update={"labels": LABELS})
TEXTS = ["We were charged twice in May.", "Is the whole site down?", "Where is my parcel? " * 40]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many_coded_model(tmp_path_factory.mktemp("model") / "many")


@pytest.fixture(scope="module")
def address(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    with vllm_serve(model, "many", log, f"--max-model-len={CONTEXT}") as address:
        yield address


def test_the_log_probabilities_and_tokens_are_those_of_an_engine(
    address: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "_LEAST_MASS", 0.0)  # a model that was never taught these codes is refused else
    asked = endpoint(endpoint=address, name="many", api="openai")
    client = FirstTierClient(asked)
    labels = [Label("", name, meaning) for name, meaning in LABELS.items()]
    served = probe(asked, labels, JOB.instructions, client, date(2026, 11, 27))
    assert (served.way, served.calls, len(set(served.token_ids))) == ("prompt_ids", 9, 300)
    question = OverHttpQuestion(JOB.model_copy(update={"model": asked}), resolved(asked, served))
    documents = [Document(str(place), "in.jsonl", place, text, None, None) for place, text in enumerate(TEXTS)]
    (plan,) = plan_shards(documents, question.encode, PlanLimits(1, 10**6))
    store = Store(str(tmp_path))
    store.create(layout.plan_part(0), to_arrow(plan))
    scorer = LabelScorer(store.root, question.first_tier, question.asked_over_http, client)
    try:
        scorer.score(0)
    finally:
        scorer.close()
    rows = from_arrow(store.read(layout.predictions_part(0)))["prediction"].to_pylist()

    own = LabelQuestion(JOB, resolve_model(ModelSource(source=str(model), engine={"max_model_len": CONTEXT})))
    assert own.frame.codes == served.token_ids
    arguments = engine_arguments(max_model_len=CONTEXT)
    engine = LabelEngine(str(model), arguments, own.frame)
    try:
        scores = engine.score([np.array(tokens, np.int32) for tokens in own.encode(TEXTS)]).result()
    finally:
        engine.close()
    assert [row["input_tokens"] for row in rows] == scores.input_tokens.tolist()
    assert [row["output_tokens"] for row in rows] == [3] * len(TEXTS)
    found = np.array([row["label_logprobs"] for row in rows])
    apart = np.abs(found - scores.label_logprobs)  # far out in the tails, in bfloat16, by what shares a batch
    assert np.median(apart) < 0.05 and apart.max() < 0.5
