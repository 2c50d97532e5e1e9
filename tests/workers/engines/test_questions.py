"""A shard of which several questions are asked: who is asked when, what each finds in the cache, what is committed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import workers.engines.scorer as scorer_module
from pipelines.errors import EngineError
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.store import layout
from pipelines.store.objects import Store
from pipelines.store.question_store import QuestionStore
from pipelines.store.schemas import GOLD_LABELS, PLAN, to_arrow
from pipelines.tasks.classification import assign_codes, question_prompt
from tests.engine_stand_in import engine_stand_in
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.questions import QuestionFrame, QuestionsEngine
from workers.engines.requests import ShardScores
from workers.engines.scorer import Scorer, ScorerConfig
from workers.engines.tokens import ModelTokenizer, TokenFrame

__all__ = ["engine_stand_in"]

MODEL = resolve_model("starter")
QUESTIONS = {
    "topic": ({"billing": "invoices", "outage": None, "delivery": None}, "Which one fits?"),
    "urgent": ({"yes": None, "no": None}, "Must somebody act today?"),
}


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return ModelTokenizer(MODEL)


@pytest.fixture(scope="module")
def frames(tokenizer: ModelTokenizer) -> list[QuestionFrame]:
    found = []
    for key, (labels, instructions) in QUESTIONS.items():
        codes = assign_codes(labels, tokenizer.is_single_token, MODEL.name)
        found.append(QuestionFrame(key, tokenizer.encode_frame(question_prompt(codes, instructions))))
    return found


def documents_of(tokenizer: ModelTokenizer, count: int) -> list[Any]:
    texts = [
        f"Document {number}: the parcel is late, and nobody answers the telephone. " * 4 for number in range(count)
    ]
    return [np.array(tokens, np.int32) for tokens in tokenizer.encode_documents(texts)]


def test_the_prompts_of_all_questions_begin_alike_and_each_ends_with_its_own(
    tokenizer: ModelTokenizer, frames: list[QuestionFrame]
) -> None:
    topic, urgent = (each.frame for each in frames)
    assert topic.prefix == urgent.prefix
    assert topic.suffix != urgent.suffix
    prompt = question_prompt(assign_codes({"a": "b", "c": None}, lambda _: True, ""), "What is it?")
    assert prompt.before.endswith("<document>\n") and "a: b" not in prompt.before
    assert prompt.after.startswith("\n</document>\n\nWhat is it?\n\nA. a: b\nB. c\n")


@pytest.mark.usefixtures("engine_stand_in")
def test_each_question_is_answered_as_if_it_were_the_only_one_and_finds_the_document_in_the_cache(
    tokenizer: ModelTokenizer, frames: list[QuestionFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_STAND_IN_BLOCK", "16")
    documents = documents_of(tokenizer, 30)
    arguments = {"enable_prefix_caching": True}
    engine = QuestionsEngine(MODEL.weights, arguments, frames)
    together = engine.score_all(documents)
    assert [scores.label_logprobs.shape for scores in engine.score_all([])] == [(0, 3), (0, 2)]
    engine.close()
    for each, scores in zip(frames, together, strict=True):
        alone = LabelEngine(MODEL.weights, arguments, each.frame)
        expected = alone.score(documents).result()
        alone.close()
        np.testing.assert_array_equal(scores.label_logprobs, expected.label_logprobs)
        np.testing.assert_array_equal(scores.input_tokens, expected.input_tokens)
        assert scores.output_tokens.tolist() == [1] * 30
    lengths = np.array([len(frames[0].frame.prefix) + len(document) for document in documents])
    first, second = together
    assert (second.cached_tokens >= lengths // 16 * 16).all(), "the document was read for the question before"
    assert (first.cached_tokens < lengths // 2).all(), "a new document shares but the frame with the one before"


@pytest.mark.usefixtures("engine_stand_in")
def test_prompts_that_do_not_begin_alike_are_refused(frames: list[QuestionFrame]) -> None:
    other = QuestionFrame("other", TokenFrame((1, 2), (3,), (4, 5)))
    with pytest.raises(EngineError, match="do not begin alike"):
        QuestionsEngine(MODEL.weights, {}, [*frames, other])


class Counting:
    """In the engine's place: the first label for every even document; counts how often a shard is scored."""

    shards = 0

    def __init__(self, weights: str, engine_args: Any, questions: Any, devices: float = 1) -> None:
        self._questions = questions

    def score_all(self, documents: Any) -> list[ShardScores]:
        type(self).shards += 1
        numbers = [np.full(len(documents), value, np.int64) for value in (100, 64, 1, 1_000)]
        each = []
        for question in self._questions:
            logprobs = np.full((len(documents), len(question.frame.codes)), np.log(0.1), np.float32)
            logprobs[::2, 0] = np.log(0.6)
            each.append(ShardScores(logprobs, *numbers))
        return each


def test_a_shard_is_committed_question_by_question_and_what_a_kill_left_stands(
    tmp_path: Path, frames: list[QuestionFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer_module, "QuestionsEngine", Counting)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    store = Store(str(tmp_path))
    rows = [
        {"item_id": f"itm_{number}", "document_id": str(number), "document_uri": "u", "document_offset": 0}
        | ({"failure": "empty"} if number == 3 else {"text": "t", "tokens": [number, 1]})
        for number in range(6)
    ]
    gold = pa.array(
        [{"topic": "billing", "urgent": None}] * 6, pa.struct([("topic", pa.string()), ("urgent", pa.string())])
    )
    plan = pa.Table.from_pylist(rows, schema=PLAN).append_column(GOLD_LABELS, gold)
    store.create(layout.plan_part(0), to_arrow(plan))
    config = ScorerConfig(str(tmp_path), str(tmp_path), "revision", {}, {}, frames[0].frame, 1, questions=tuple(frames))
    report = Scorer(config).score(0)
    assert report.items == 5
    topic, urgent = (read_scored_part(QuestionStore(store, each.key), 0) for each in frames)
    assert topic["gold_label"].to_pylist() == ["billing"] * 6 and urgent["gold_label"].null_count == 6
    assert (
        len(predictions_of(topic)["label_logprobs"][0]) == 3 and len(predictions_of(urgent)["label_logprobs"][0]) == 2
    )
    assert not store.exists(layout.predictions_part(0))
    committed = QuestionStore(store, "topic").read(layout.predictions_part(0))
    (tmp_path / "questions/urgent/predictions/part-00000.arrow").unlink()  # as if killed between the two
    Scorer(config).score(0)
    assert QuestionStore(store, "topic").read(layout.predictions_part(0)) == committed
    assert QuestionStore(store, "urgent").exists(layout.predictions_part(0))
