"""One real vLLM engine that writes JSON and scores claims side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, assign_codes, local_prompt
from pipelines.tasks.code_review.verification import CLAIM_LABELS
from tests.engine_in_process import engine_arguments
from workers.engines.catalogue import resolve_model
from workers.engines.engine import ReviewEngine
from workers.engines.tokens import ModelTokenizer

# vLLM, torch and transformers warn about themselves while they load.
pytestmark = [pytest.mark.engine, pytest.mark.prove, pytest.mark.filterwarnings("ignore")]

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["billing", "outage"]}},
    "required": ["kind"],
    "additionalProperties": False,
}


def test_answers_obey_the_schema_while_claims_are_scored() -> None:
    model = resolve_model("starter")
    tokenizer = ModelTokenizer(model)
    frame = tokenizer.encode_frame(
        local_prompt(assign_codes(CLAIM_LABELS, tokenizer.is_single_token, "starter"), DEFAULT_INSTRUCTIONS)
    )
    texts = [f"The office is offline since {hour} o'clock." for hour in range(1, 9)]
    prompts = [[*frame.prefix, *ids, *frame.suffix] for ids in tokenizer.encode_documents(texts)]
    arguments = engine_arguments(model)
    engine = ReviewEngine(model.weights, arguments, frame.codes, SCHEMA, max_output_tokens=32)
    written, scores = engine.write(prompts), engine.score(prompts)
    answers = [json.loads(text)["kind"] for text in written.result().texts]
    assert set(answers) <= {"billing", "outage"}
    assert len(answers) == len(prompts)
    logprobs = scores.result().label_logprobs
    assert logprobs.shape == (8, 2)
    assert np.all(np.exp(logprobs).sum(axis=1) <= 1.0001)
    again = engine.score(prompts).result()
    assert np.allclose(again.label_logprobs, logprobs, atol=0.05)
    assert np.all(again.cached_tokens > 0), "the second pass finds the first one's work"
    assert engine.write([]).result().texts == []
    cut = engine.write(prompts, 2).result()
    assert cut.output_tokens.tolist() == [2] * 8
    assert all(whole.startswith(text) for whole, text in zip(written.result().texts, cut.texts, strict=True))
    beyond_the_context = engine.write(prompts, 10_000_000).result()
    assert all(json.loads(text)["kind"] for text in beyond_the_context.texts)
    assert written.result().device_nanoseconds.sum() > 0
    engine.close()
