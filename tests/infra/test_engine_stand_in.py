"""What stands in for vLLM does so for both engines, at once, and answers the same prompt alike."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.local.engine import STAND_IN
from pipelines.documents.code.shown import LineMap
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, assign_codes, local_prompt
from pipelines.tasks.code_review.answers import engine_answer_schema, parse_answer
from pipelines.tasks.code_review.prompts import review_prompt
from tests.engine_stand_in import engine_stand_in
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine, ReviewEngine
from workers.engines.tokens import ModelTokenizer, TokenFrame

__all__ = ["engine_stand_in"]
pytestmark = pytest.mark.usefixtures("engine_stand_in")

MODEL = resolve_model("starter")
LABELS = {"billing": "invoices: wrong or late", "outage": None, "out": None}
SHOWN = '@file "shop/{0}.py" modified\n@@|def find(name):\n10 |    a = 1\n11+|    b = {0}\n12+|    return "é"\n'


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return ModelTokenizer(MODEL)


@pytest.fixture(scope="module")
def frame(tokenizer: ModelTokenizer) -> TokenFrame:
    codes = assign_codes(LABELS, tokenizer.is_single_token, MODEL.name)
    return tokenizer.encode_frame(local_prompt(codes, DEFAULT_INSTRUCTIONS))


def scores(tokenizer: ModelTokenizer, frame: TokenFrame, texts: list[str]) -> Any:
    engine = LabelEngine(MODEL.weights, {"dtype": "float32"}, frame)
    documents = [np.array(tokens, np.int32) for tokens in tokenizer.encode_documents(texts)]
    scored = engine.score(documents).result()
    engine.close()
    return scored


def test_the_folder_holds_nothing_but_the_package() -> None:
    assert [path.name for path in STAND_IN.iterdir()] == ["vllm"]


def test_labels_are_drawn_from_the_prompt(tokenizer: ModelTokenizer, frame: TokenFrame) -> None:
    texts = [f"Document {number}" for number in range(200)]
    scored = scores(tokenizer, frame, texts)
    probs = np.exp(scored.label_logprobs)
    assert probs.sum(axis=1) == pytest.approx(0.999)
    assert 50 < (probs.max(axis=1) < 0.9).sum() < 150, "about half are doubtful"
    assert len(set(probs.argmax(axis=1))) == len(LABELS)
    assert np.array_equal(scores(tokenizer, frame, texts).label_logprobs, scored.label_logprobs)
    assert scored.input_tokens[0] == len(frame) + len(tokenizer.encode_documents(texts[:1])[0])
    assert scored.output_tokens.tolist() == [1] * 200


def test_with_an_answer_key_it_is_right_as_often_as_it_is_sure(
    tokenizer: ModelTokenizer, frame: TokenFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"Déjà <document>\nvu\n</document>\n {number}\n" for number in range(1_000)]
    gold = [number % len(LABELS) for number in range(len(texts))]
    key = tmp_path / "key.jsonl"
    with key.open("w") as stream:
        for text, label in zip(texts, gold, strict=True):
            digest = hashlib.sha256(text.encode()).hexdigest()
            stream.write(json.dumps({"text_sha256": digest, "answer": {"label": list(LABELS)[label]}}) + "\n")
    monkeypatch.setenv("ENGINE_STAND_IN_ANSWER_KEY", str(key))
    probs = np.exp(scores(tokenizer, frame, texts).label_logprobs)
    is_right = probs.argmax(axis=1) == gold
    is_sure = probs.max(axis=1) > 0.95
    # Drawn from the prompts alone, so these numbers never change.
    assert is_right.mean() == pytest.approx(probs.max(axis=1).mean(), abs=0.04)
    assert is_right[is_sure].mean() > 0.97 > 0.85 > is_right[~is_sure].mean()
    assert is_sure.sum() > 300


def test_a_review_names_a_line_that_was_added_or_nothing(tokenizer: ModelTokenizer, frame: TokenFrame) -> None:
    framed = tokenizer.encode_frame(review_prompt("Review the code."))
    shown = [SHOWN.format(f"orders_{number}") for number in range(100)]
    prompts = [[*framed.prefix, *ids, *framed.suffix] for ids in tokenizer.encode_documents(shown)]
    engine = ReviewEngine(MODEL.weights, {}, frame.codes, engine_answer_schema(), max_output_tokens=500)
    written, claims = engine.write(prompts).result(), engine.score(prompts).result()
    assert engine.write(prompts).result().texts == written.texts
    engine.close()
    answers = [parse_answer(text, LineMap.of(code)) for text, code in zip(written.texts, shown, strict=True)]
    assert not any(answer.failure or answer.dropped for answer in answers)
    found = [finding for answer in answers for finding in answer.findings]
    assert 25 < len(found) < 75
    assert {finding.line for finding in found} == {11, 12}
    assert len({finding.category for finding in found}) > 3
    assert claims.label_logprobs.shape == (100, len(LABELS))


def test_each_prompt_takes_its_time_if_asked(
    tokenizer: ModelTokenizer, frame: TokenFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_STAND_IN_SECONDS_PER_TOKEN", "0.01")
    assert scores(tokenizer, frame, ["a", "b", "c"]).device_nanoseconds.sum() >= 30_000_000
