"""One real vLLM engine and 300 labels: what three requests give is what the model itself gives at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from pipelines.job.sections import ModelSource
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, assign_codes, local_prompt
from tests.engine_in_process import engine_arguments
from tests.many_labels import many_coded_model
from workers.adapting.examples import OrderedFrame
from workers.engines.catalogue import ResolvedModel, resolve_model
from workers.engines.engine import LabelEngine
from workers.engines.tokens import ModelTokenizer, TokenFrame

# vLLM, torch and transformers warn about themselves while they load.
pytestmark = [pytest.mark.engine, pytest.mark.prove, pytest.mark.filterwarnings("ignore")]

LABELS = 300
TEXTS = ["We were charged twice in May.", "Is the whole site down?", "Where is my parcel? " * 40]
_BLOCK = 32  # of the engine's cache on a CPU


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    folder = many_coded_model(tmp_path_factory.mktemp("model") / "many")
    return resolve_model(ModelSource(source=str(folder), engine={"max_model_len": 8_192}))


@pytest.fixture(scope="module")
def tokenizer(model: ResolvedModel) -> ModelTokenizer:
    return ModelTokenizer(model)


@pytest.fixture(scope="module")
def frame(tokenizer: ModelTokenizer) -> TokenFrame:
    labels = assign_codes({f"topic {number}": None for number in range(LABELS)}, tokenizer.is_single_token, "many")
    return tokenizer.encode_frame(local_prompt(labels, DEFAULT_INSTRUCTIONS))


@pytest.fixture(scope="module")
def engine(model: ResolvedModel, frame: TokenFrame) -> Iterator[LabelEngine]:
    engine = LabelEngine(model.weights, engine_arguments(model), frame)
    yield engine
    engine.close()


def test_the_log_probabilities_are_the_models_own_over_its_whole_vocabulary(
    engine: LabelEngine, model: ResolvedModel, tokenizer: ModelTokenizer, frame: TokenFrame
) -> None:
    import torch

    from workers.adapting.network import load_network, score

    encoded = tokenizer.encode_documents(TEXTS)
    documents = [np.array(tokens, np.int32) for tokens in encoded]
    scores = engine.score(documents).result()
    assert scores.label_logprobs.shape == (len(TEXTS), LABELS)
    network = load_network(model).eval()
    for row, tokens in enumerate(encoded):
        prompt = [*frame.prefix, *tokens, *frame.suffix]
        with torch.no_grad():
            expected = torch.log_softmax(network(torch.tensor([prompt])).logits[0, -1], -1)[list(frame.codes)].numpy()
        apart = np.abs(scores.label_logprobs[row] - expected)
        # In bfloat16, of which the model's own are none; codes that it was never taught lie far out in its tails.
        assert np.median(apart) < 0.1 and apart.max() < 0.6
        assert np.corrcoef(scores.label_logprobs[row], expected)[0, 1] > 0.99
        mass = np.exp(scores.label_logprobs[row].astype(np.float64)).sum()
        assert mass == pytest.approx(np.exp(expected.astype(np.float64)).sum(), rel=0.2)
        assert scores.input_tokens[row] == 3 * len(prompt)
        assert scores.output_tokens[row] == 3
    # What an adapter's training reads, in one step, is the same.
    trained = score(network, OrderedFrame(frame, tuple(range(LABELS))), documents)
    assert np.median(np.abs(trained - scores.label_logprobs)) < 0.1


def test_the_second_and_third_request_find_the_prompt_in_the_cache(
    engine: LabelEngine, tokenizer: ModelTokenizer, frame: TokenFrame
) -> None:
    texts = [f"{number} {text}" for number in range(10) for text in TEXTS]
    documents = [np.array(tokens, np.int32) for tokens in tokenizer.encode_documents(texts)]
    engine.score(documents[:1]).result()
    scores = engine.score(documents[1:]).result()
    lengths = np.array([len(frame) + len(document) for document in documents[1:]])
    uncached = scores.input_tokens - scores.cached_tokens
    # Once what the frame does not hold, and the last block of the second and third.
    assert (uncached <= lengths - len(frame.prefix) // _BLOCK * _BLOCK + 2 * (_BLOCK + 1)).all()
