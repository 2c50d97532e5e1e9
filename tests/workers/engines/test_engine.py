"""One real vLLM engine on the starter model."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipelines.errors import EngineError
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, assign_codes, local_prompt
from pipelines.tasks.label_order import reads_reversed, reversed_labels
from tests.engine_in_process import engine_arguments
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.label_orders import TwoOrders
from workers.engines.requests import LABELS_A_REQUEST
from workers.engines.tokens import ModelTokenizer, TokenFrame

# vLLM, torch and transformers warn about themselves while they load.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

LABELS = {"billing": None, "refund": None, "outage": "the service is down", "delivery": None}
TEXTS = [
    "Please cancel the second invoice, we were charged twice in May.",
    "The parcel has not arrived, tracking says it is in Rotterdam since Monday.",
    "Nothing works since nine o'clock, the whole office is offline. " * 20,
    "I want my money back.",
]


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return ModelTokenizer(resolve_model("starter"))


@pytest.fixture(scope="module")
def frame(tokenizer: ModelTokenizer) -> TokenFrame:
    labels = assign_codes(LABELS, tokenizer.is_single_token, "starter")
    return tokenizer.encode_frame(local_prompt(labels, DEFAULT_INSTRUCTIONS))


@pytest.fixture(scope="module")
def reversed_frame(tokenizer: ModelTokenizer) -> TokenFrame:
    labels = assign_codes(LABELS, tokenizer.is_single_token, "starter")
    return tokenizer.encode_frame(local_prompt(reversed_labels(labels), DEFAULT_INSTRUCTIONS))


def start_engine(frame: TokenFrame) -> LabelEngine:
    model = resolve_model("starter")
    return LabelEngine(model.weights, engine_arguments(model), frame)


@pytest.fixture(scope="module")
def engine(frame: TokenFrame) -> Iterator[LabelEngine]:
    engine = start_engine(frame)
    yield engine
    engine.close()


def encode(tokenizer: ModelTokenizer, texts: list[str]) -> list[np.ndarray]:
    return [np.array(ids, dtype=np.int32) for ids in tokenizer.encode_documents(texts)]


def test_log_probabilities_are_the_models_own(
    engine: LabelEngine, tokenizer: ModelTokenizer, frame: TokenFrame
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    scores = engine.score(encode(tokenizer, TEXTS)).result()
    model = AutoModelForCausalLM.from_pretrained(resolve_model("starter").weights, dtype=torch.float32).eval()
    for row, text in enumerate(TEXTS):
        prompt = [*frame.prefix, *tokenizer.encode_documents([text])[0], *frame.suffix]
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1], -1)
        expected = logprobs[list(frame.codes)].numpy()
        probable = expected > -6  # far tails differ more in bfloat16, and decide nothing
        np.testing.assert_allclose(scores.label_logprobs[row][probable], expected[probable], atol=0.15)
        assert scores.input_tokens[row] == len(prompt)


def test_every_item_gets_its_share_of_time_and_the_prefix_is_cached(
    engine: LabelEngine, tokenizer: ModelTokenizer, frame: TokenFrame
) -> None:
    scores = engine.score(encode(tokenizer, [f"{text} again" for text in TEXTS])).result()
    assert (scores.device_nanoseconds > 0).all()
    assert (scores.output_tokens == 1).all()
    cached_whole_blocks = len(frame.prefix) // 32 * 32
    assert (scores.cached_tokens >= cached_whole_blocks).all()


def test_shards_from_several_threads_come_back_whole_and_in_order(
    engine: LabelEngine, tokenizer: ModelTokenizer, frame: TokenFrame
) -> None:
    shards = [[f"{text} {number}" for text in TEXTS * 10] for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda texts: engine.score(encode(tokenizer, texts)).result(), shards))
    for texts, scores in zip(shards, results, strict=True):
        lengths = [len(ids) + len(frame) for ids in tokenizer.encode_documents(texts)]
        assert scores.input_tokens.tolist() == lengths


def test_both_orders_give_the_mean_and_each_items_own_order_gives_its_part(
    engine: LabelEngine, tokenizer: ModelTokenizer, reversed_frame: TokenFrame
) -> None:
    documents = encode(tokenizer, [*TEXTS, "?", "Hello."])  # where a text says nothing, the place says most
    ids = [f"itm_{number}" for number in range(len(documents))]
    given = engine.score(documents).result()
    turned = engine.score(documents, reversed_frame).result()
    by_label = np.exp(given.label_logprobs), np.exp(turned.label_logprobs[:, ::-1])
    apart = np.abs(by_label[0] - by_label[1]).max()
    assert apart > 0.04, "otherwise the two orders could be exchanged and nobody would see"

    averaged = TwoOrders("averaged", reversed_frame).score(engine, ids, documents)
    # What shares an engine step with a prompt moves its probabilities a little.
    np.testing.assert_allclose(np.exp(averaged.label_logprobs), (by_label[0] + by_label[1]) / 2, atol=0.02)
    assert averaged.input_tokens.tolist() == (given.input_tokens + turned.input_tokens).tolist()
    assert averaged.output_tokens.tolist() == [2] * len(ids)

    seeded = TwoOrders("seeded", reversed_frame).score(engine, ids, documents)
    is_reversed = reads_reversed(ids)
    assert 0 < is_reversed.sum() < len(ids)
    expected = np.where(is_reversed[:, None], by_label[1], by_label[0])
    np.testing.assert_allclose(np.exp(seeded.label_logprobs), expected, atol=0.02)


def test_an_empty_shard_is_answered_at_once(engine: LabelEngine) -> None:
    assert engine.score([]).result(timeout=1).label_logprobs.shape == (0, len(LABELS))


def test_vllm_takes_as_many_labels_in_a_request_as_it_is_asked_for() -> None:
    from vllm.sampling_params import MAX_LOGPROB_TOKEN_IDS

    assert LABELS_A_REQUEST == MAX_LOGPROB_TOKEN_IDS


def test_a_failing_engine_fails_its_shards_and_takes_no_more(frame: TokenFrame) -> None:
    engine = start_engine(frame)
    too_long = np.zeros(5_000, dtype=np.int32)
    with pytest.raises(EngineError, match="vLLM failed"):
        engine.score([too_long]).result(timeout=60)
    with pytest.raises(EngineError, match="the engine has stopped after an earlier failure"):
        engine.score([too_long]).result(timeout=60)
