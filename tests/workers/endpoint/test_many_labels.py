"""More labels than one request tells of, over HTTP: the same prompt again, one row, and nothing paid twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from infra.local.first_tier.service import Refused, Reply
from infra.local.first_tier.vllm_service import VllmService
from pipelines.errors import EngineError, JobError
from pipelines.job.sections import ModelSource
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.schemas import PLAN, from_arrow, to_arrow
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, Label, local_prompt
from tests.engine_stand_in import engine_stand_in
from tests.many_labels import many_coded_model
from tests.workers.endpoint.asked import client_of, endpoint, probed, service_of
from workers.endpoint.labels import LabelScorer
from workers.endpoint.paid_calls import AskedIntent
from workers.endpoint.probe import probe
from workers.endpoint.served import Served, resolved
from workers.endpoint.ways import AskedOverHttp
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.tokens import ModelTokenizer

__all__ = ["engine_stand_in"]
# transformers warns about itself while it loads
pytestmark = [pytest.mark.usefixtures("engine_stand_in"), pytest.mark.filterwarnings("ignore")]

LABELS = tuple(Label("", f"topic {number}", None) for number in range(300))
TEXTS = [f"Document {number}, about something." for number in range(12)]
PRICE = {"input": "1", "output": "1"}
TODAY = date(2026, 11, 27)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many_coded_model(tmp_path_factory.mktemp("model") / "many", codes=320)


class Server(VllmService):
    """Counts what it was asked about each prompt, and may fail from some request on."""

    def __init__(self, weights: Path) -> None:
        super().__init__(weights, context_tokens=8_192)
        self.requests: Counter[str] = Counter()
        self.fails_after: int | None = None
        self.status = 429

    def _completion(self, asked: Mapping[str, Any]) -> Reply:
        if self.fails_after is not None and self.requests.total() >= self.fails_after:
            raise Refused(self.status, "no room")
        self.requests[hashlib.sha256(repr(asked["prompt"]).encode()).hexdigest()] += 1
        return super()._completion(asked)


class Case:
    def __init__(self, folder: Path, service: Server, **changes: Any) -> None:
        self.store, self.service, self.asked = Store(str(folder)), service, endpoint(api="openai", **changes)
        client = client_of(service, self.asked)
        self.served: Served = probe(self.asked, LABELS, DEFAULT_INSTRUCTIONS, client, TODAY)
        self.told: list[str] = []
        rows = [
            {"item_id": f"itm_{place}", "document_id": str(place), "document_uri": "in", "document_offset": place}
            | {"text": text, "tokens": []}
            for place, text in enumerate(TEXTS)
        ]
        self.store.create(layout.plan_part(0), to_arrow(pa.Table.from_pylist(rows, schema=PLAN)))

    def score(self) -> list[dict[str, Any]]:
        labels = tuple(Label(code, each.name, None) for each, code in zip(LABELS, self.served.codes, strict=True))
        asked = AskedOverHttp(labels, DEFAULT_INSTRUCTIONS, local_prompt(labels, DEFAULT_INSTRUCTIONS))
        client = client_of(self.service, self.asked)
        scorer = LabelScorer(self.store.root, resolved(self.asked, self.served), asked, client)
        scorer.tell = self.told.append
        try:
            scorer.score(0)
        finally:
            scorer.close()
        found: list[dict[str, Any]] = from_arrow(self.store.read(layout.predictions_part(0)))["prediction"].to_pylist()
        return found


def test_the_rows_are_those_of_an_engine_to_the_last_bit(tmp_path: Path, weights: Path) -> None:
    case = Case(tmp_path, Server(weights))
    assert (case.served.way, case.served.calls, len(case.served.codes)) == ("prompt_ids", 9, 300)
    case.service.requests.clear()
    rows = case.score()
    assert set(case.service.requests.values()) == {3} and len(case.service.requests) == len(TEXTS)
    tokenizer = ModelTokenizer(resolve_model(ModelSource(source=str(weights))))
    labels = [Label(code, each.name, None) for each, code in zip(LABELS, case.served.codes, strict=True)]
    frame = tokenizer.encode_frame(local_prompt(labels, DEFAULT_INSTRUCTIONS))
    engine = LabelEngine(str(weights), {}, frame)
    documents = [np.array(tokens, np.int32) for tokens in tokenizer.encode_documents(TEXTS)]
    scores = engine.score(documents).result()
    engine.close()
    assert [row["label_logprobs"] for row in rows] == scores.label_logprobs.tolist()
    assert [row["input_tokens"] for row in rows] == scores.input_tokens.tolist()
    assert [row["output_tokens"] for row in rows] == [3] * len(TEXTS)
    assert [row["label_mass"] for row in rows] == pytest.approx([0.999] * len(TEXTS))


def test_of_a_hosted_server_that_goes_in_the_midst_of_an_item_what_is_paid_is_kept_and_not_paid_again(
    tmp_path: Path, weights: Path
) -> None:
    case = Case(tmp_path, Server(weights), where="hosted", price=PRICE, requests_at_once=1)
    case.service.requests.clear()
    case.service.fails_after = 7  # two items, and one request about the third
    with pytest.raises(EngineError, match="does not answer"):
        case.score()
    case.service.fails_after = None
    rows = case.score()
    assert sorted(case.service.requests.values()) == [1] + [3] * (len(TEXTS) - 1)
    (lost,) = [row for row in rows if row["failure"]]
    assert lost["failure"] == (
        "the first tier answered 1 call about the document, which are paid, and was gone before the rest"
    )
    assert lost["input_tokens"] * 3 == pytest.approx(rows[0]["input_tokens"], abs=6), "one request of three is paid"


def test_the_most_that_calls_can_cost_counts_every_request(tmp_path: Path, weights: Path) -> None:
    case = Case(tmp_path, Server(weights), where="hosted", price=PRICE)
    rows = case.score()
    (intent,) = [key for key in case.store.list("first_tier/") if "asked" in key]
    worst = AskedIntent.model_validate_json(case.store.read(intent)).worst_cost_usd
    paid = Decimal(sum(row["input_tokens"] + row["output_tokens"] for row in rows)) / 1_000_000
    assert worst is not None and paid <= worst < 6 * paid


def test_a_server_that_tells_of_fewer_codes_is_refused_with_their_number(weights: Path) -> None:
    service = VllmService(resolve_model("starter").files, context_tokens=8_192)
    with pytest.raises(
        JobError, match=r"prompt_ids\): its tokenizer has one-token codes for 10 labels, the job has 300"
    ):
        probed(service, LABELS, api="openai")


@pytest.mark.parametrize("shape", ["openai", "ollama", "systemone"])
def test_a_server_that_takes_no_token_ids_is_refused_with_the_cure(shape: Any) -> None:
    with pytest.raises(JobError, match=r"tells of at most 2[06] labels, the job has 300.*vllm serve") as refused:
        probed(service_of(shape), LABELS)
    assert "sort in two jobs" not in str(refused.value)
