"""Real vLLM engines with an adapter over the starter model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.errors import EngineError
from pipelines.job.sections import ModelSource
from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, assign_codes, local_prompt
from pipelines.tasks.code_review.verification import VERIFICATION_ONLY
from tests.adapter_files import write_adapter
from tests.engine_in_process import engine_arguments
from workers.engines.adapters import CARD, Adapter
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine, ReviewEngine
from workers.engines.tokens import ModelTokenizer, TokenFrame

# vLLM, torch and transformers warn about themselves while they load.
# In `make prove`, where no other module has engines in its own process: one that could not load breaks them all.
pytestmark = [pytest.mark.engine, pytest.mark.prove, pytest.mark.filterwarnings("ignore")]

LABELS = {"billing": None, "refund": None, "outage": "the service is down", "delivery": None}
TEXTS = ["Please cancel the second invoice, we were charged twice in May.", "I want my money back."]


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return ModelTokenizer(resolve_model("starter"))


@pytest.fixture(scope="module")
def frame(tokenizer: ModelTokenizer) -> TokenFrame:
    return tokenizer.encode_frame(
        local_prompt(assign_codes(LABELS, tokenizer.is_single_token, "starter"), DEFAULT_INSTRUCTIONS)
    )


def start_engine(adapter: Path, frame: TokenFrame) -> LabelEngine:
    model = resolve_model(ModelSource(source="starter", adapter=str(adapter)))
    arguments = engine_arguments(model)
    return LabelEngine(model.weights, arguments, frame, adapter=model.adapter)


def test_an_adapter_gives_the_log_probabilities_of_the_weights_with_it_merged_in(
    tmp_path: Path, tokenizer: ModelTokenizer, frame: TokenFrame
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    engine = start_engine(write_adapter(tmp_path / "adapter"), frame)
    engine.refuse_idle_adapter(frame)
    documents = tokenizer.encode_documents(TEXTS)
    scores = engine.score([np.array(ids, np.int32) for ids in documents]).result()
    engine.close()
    model = AutoModelForCausalLM.from_pretrained(resolve_model("starter").weights, dtype=torch.float32).eval()
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    for name in [name for name in tensors if "lora_A" in name]:
        added = 2.0 * tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
        model.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")).weight.data += added
    for row, ids in enumerate(documents):
        prompt = torch.tensor([[*frame.prefix, *ids, *frame.suffix]])
        with torch.no_grad():
            expected = torch.log_softmax(model(prompt).logits[0, -1], -1)[list(frame.codes)].numpy()
        probable = expected > -6
        np.testing.assert_allclose(scores.label_logprobs[row][probable], expected[probable], atol=0.2)


def test_an_adapter_that_changes_nothing_is_refused(tmp_path: Path, frame: TokenFrame) -> None:
    engine = start_engine(write_adapter(tmp_path / "adapter", strength=0.0), frame)
    with pytest.raises(EngineError, match="changes nothing: with and without it, the engine gives every label the"):
        engine.refuse_idle_adapter(frame)
    engine.close()


def test_what_vllm_cannot_load_is_told_as_the_adapters_fault(tmp_path: Path, frame: TokenFrame) -> None:
    adapter = write_adapter(tmp_path / "adapter", init_lora_weights="pissa")
    with pytest.raises(EngineError, match=r"adapter '.*' cannot be loaded over this model: .*; train it on this model"):
        start_engine(adapter, frame)


def test_an_adapter_for_verification_answers_claims_and_writes_nothing(tmp_path: Path, frame: TokenFrame) -> None:
    base = resolve_model("starter")
    schema, prompts = {"type": "string", "maxLength": 40}, [[*frame.prefix, *frame.suffix], [*frame.prefix]]
    arguments = engine_arguments(base)

    def written_and_scored(adapter: Adapter | None) -> tuple[list[str], NDArray[np.float32]]:
        engine = ReviewEngine(base.weights, arguments, frame.codes, schema, 16, adapter=adapter)
        engine.refuse_idle_adapter(frame)
        found = engine.write(prompts).result().texts, engine.score(prompts).result().label_logprobs
        engine.close()
        return found

    def for_verification(name: str, strength: float) -> Adapter:
        folder = write_adapter(tmp_path / name, strength=strength)
        (folder / CARD).write_text(json.dumps({"base_revision": base.revision, "task": VERIFICATION_ONLY}))
        adapter = resolve_model(ModelSource(source="starter", adapter=str(folder))).adapter
        assert adapter
        return adapter

    adapter = for_verification("adapter", 0.2)
    texts, logprobs = written_and_scored(None)
    texts_beside, logprobs_with = written_and_scored(adapter)
    assert texts_beside == texts
    assert written_and_scored(replace(adapter, task=None))[0] != texts, "it would have written something else"
    assert np.abs(logprobs_with - logprobs).max() > 0.01
    with pytest.raises(EngineError, match="changes nothing: with and without it, the engine gives every label the"):
        written_and_scored(for_verification("idle", 0.0))


def test_a_review_is_written_and_verified_with_the_adapter(tmp_path: Path, frame: TokenFrame) -> None:
    adapter = write_adapter(tmp_path / "adapter", strength=0.2)
    model = resolve_model(ModelSource(source="starter", adapter=str(adapter)))
    arguments = engine_arguments(model)
    schema, prompts = {"enum": ["one", "two", "three"]}, [[*frame.prefix, *frame.suffix]]
    engine = ReviewEngine(model.weights, arguments, frame.codes, schema, 16, adapter=model.adapter)
    engine.refuse_idle_adapter(frame)
    assert engine.write(prompts).result().texts[0].strip('"') in schema["enum"]
    with_adapter = engine.score(prompts).result().label_logprobs
    engine.close()
    plain = ReviewEngine(model.weights, arguments, frame.codes, schema, 16)
    assert np.abs(plain.score(prompts).result().label_logprobs - with_adapter).max() > 0.01
    plain.close()
