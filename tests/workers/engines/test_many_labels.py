"""More labels than one request tells of: the same prompt asked again, one row of all. The engine is a stand-in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.local.engine.answers import Answers
from pipelines.errors import JobError
from pipelines.job.sections import ModelSource
from pipelines.tasks.classification import answer_schema, assign_codes, claude_system_prompt, local_prompt, parse_label
from pipelines.tasks.label_order import mean_logprobs, reversed_labels
from tests.engine_stand_in import engine_stand_in
from tests.many_labels import many_coded_model
from workers.adapting.examples import OrderedFrame
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.label_orders import TwoOrders
from workers.engines.requests import LABELS_A_REQUEST, ShardScores, requests_for
from workers.engines.tokens import ModelTokenizer, TokenFrame

__all__ = ["engine_stand_in"]
# transformers warns about itself while it loads
pytestmark = [pytest.mark.usefixtures("engine_stand_in"), pytest.mark.filterwarnings("ignore")]

TEXTS = [f"Document {number}, about something." for number in range(20)]


def topics(count: int) -> dict[str, str | None]:
    return {f"topic {number}": None for number in range(count)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many_coded_model(tmp_path_factory.mktemp("model") / "many", codes=340)


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> ModelTokenizer:
    return ModelTokenizer(resolve_model(ModelSource(source=str(model))))


def frames(tokenizer: ModelTokenizer, count: int) -> tuple[TokenFrame, TokenFrame]:
    labels = assign_codes(topics(count), tokenizer.is_single_token, "many")
    return (
        tokenizer.encode_frame(local_prompt(labels, "Sort.")),
        tokenizer.encode_frame(local_prompt(reversed_labels(labels), "Sort.")),
    )


def documents(tokenizer: ModelTokenizer) -> list[np.ndarray[Any, Any]]:
    return [np.array(tokens, np.int32) for tokens in tokenizer.encode_documents(TEXTS)]


def scored(model: Path, frame: TokenFrame, asked: Sequence[np.ndarray[Any, Any]]) -> ShardScores:
    engine = LabelEngine(str(model), {}, frame)
    try:
        return engine.score(asked).result()
    finally:
        engine.close()


@pytest.mark.parametrize(("labels", "requests"), [(2, 1), (26, 1), (128, 1), (129, 2), (256, 2), (300, 3), (676, 6)])
def test_each_128_labels_are_a_request(labels: int, requests: int) -> None:
    assert requests_for(labels) == requests


@pytest.mark.parametrize("count", [200, 300])
def test_a_row_holds_the_log_probabilities_of_all_labels_and_what_all_its_requests_took(
    model: Path, tokenizer: ModelTokenizer, count: int
) -> None:
    frame, _ = frames(tokenizer, count)
    asked = documents(tokenizer)
    scores = scored(model, frame, asked)
    prompts = [[*frame.prefix, *document.tolist(), *frame.suffix] for document in asked]
    expected = [Answers(str(model), None).logprobs(prompt, frame.codes) for prompt in prompts]
    np.testing.assert_allclose(scores.label_logprobs, expected, rtol=1e-6)
    np.testing.assert_allclose(np.exp(scores.label_logprobs).sum(axis=1), 0.999, rtol=1e-5)
    assert (scores.label_logprobs.argmax(axis=1) >= LABELS_A_REQUEST).any(), "no answer is beyond the first request"
    requests = requests_for(count)
    assert scores.input_tokens.tolist() == [requests * len(prompt) for prompt in prompts]
    assert scores.output_tokens.tolist() == [requests] * len(TEXTS)
    assert (scores.device_nanoseconds > 0).all()


def test_the_requests_about_a_document_follow_each_other_so_that_the_cache_has_its_prompt(
    model: Path, tokenizer: ModelTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_STAND_IN_BLOCK", "1")
    frame, _ = frames(tokenizer, 300)
    engine = LabelEngine(str(model), {"enable_prefix_caching": True}, frame)
    scores = engine.score(documents(tokenizer)).result()
    engine.close()
    lengths = scores.input_tokens // 3
    assert (scores.cached_tokens >= 2 * lengths).all(), "the second and third were found whole"
    assert (scores.cached_tokens[1:] >= 2 * lengths[1:] + len(frame.prefix)).all()


def test_averaged_both_orders_are_asked_about_all_labels(model: Path, tokenizer: ModelTokenizer) -> None:
    frame, turned = frames(tokenizer, 150)
    asked = documents(tokenizer)
    one, other = scored(model, frame, asked), scored(model, turned, asked)
    engine = LabelEngine(str(model), {}, frame)
    averaged = TwoOrders("averaged", turned).score(engine, TEXTS, asked)
    engine.close()
    expected = mean_logprobs(one.label_logprobs, other.label_logprobs[:, ::-1])
    np.testing.assert_allclose(averaged.label_logprobs, expected, rtol=1e-5)
    assert averaged.output_tokens.tolist() == [4] * len(TEXTS)
    assert averaged.input_tokens.tolist() == (one.input_tokens + other.input_tokens).tolist()


def test_up_to_128_labels_codes_prompt_and_requests_are_what_they_were(model: Path, tokenizer: ModelTokenizer) -> None:
    labels = assign_codes(topics(128), lambda code: True, "any")
    prompt = local_prompt(labels, "Sort.")
    assert (prompt.codes[0], prompt.codes[25], prompt.codes[-1]) == ("AA", "AZ", "EX")
    assert hashlib.sha256(f"{prompt.before}|{prompt.after}".encode()).hexdigest()[:16] == "d72e752a6e9cff64"
    frame, _ = frames(tokenizer, 128)
    scores = scored(model, frame, documents(tokenizer))
    assert scores.output_tokens.tolist() == [1] * len(TEXTS)
    assert scores.input_tokens.tolist() == [len(frame) + len(each) for each in documents(tokenizer)]


def test_codes_are_those_that_the_tokenizer_has_and_as_many_as_it_has(tokenizer: ModelTokenizer) -> None:
    frame, _ = frames(tokenizer, 340)
    assert len(set(frame.codes)) == 340
    with pytest.raises(JobError) as refused:
        frames(tokenizer, 677)
    found = sum(
        map(tokenizer.is_single_token, (a + b for a in map(chr, range(65, 91)) for b in map(chr, range(65, 91))))
    )
    assert refused.value.problems == [
        f"labels: 677 labels, but model 'many' has one-token codes for {found} only (no model for more than 676); "
        "merge labels, or choose a model with a larger vocabulary"
    ]


def test_an_adapter_is_taught_each_labels_own_code_beyond_the_first_request(tokenizer: ModelTokenizer) -> None:
    frame, turned = frames(tokenizer, 300)
    given, other = OrderedFrame(frame, tuple(range(300))), OrderedFrame(turned, tuple(range(300))[::-1])
    assert given.codes == list(frame.codes)
    assert other.codes == list(frame.codes)[::-1]
    assert len({given.code(label) for label in range(300)}) == 300


def test_claude_is_told_of_all_labels_and_answers_with_any() -> None:
    labels = assign_codes(topics(300), lambda code: True, "any")
    schema, names = answer_schema(labels), [label.name for label in labels]
    assert schema["properties"]["label"]["enum"] == names and len(names) == 300
    assert all(f"- {name}\n" in claude_system_prompt(labels, "Sort.") for name in names)
    assert parse_label({"label": "Topic 299"}, names) == "topic 299"
