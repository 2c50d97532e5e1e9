"""Whose is the engine's time: the same steps give the same shares, to the nanosecond, whoever finishes in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.tasks.classification import DEFAULT_INSTRUCTIONS, assign_codes, local_prompt
from pipelines.tasks.code_review.verification import CLAIM_LABELS
from tests.engine_in_process import engine_arguments
from workers.engines import engine as engine_module
from workers.engines.catalogue import resolve_model
from workers.engines.engine import LabelEngine, ReviewEngine
from workers.engines.tokens import ModelTokenizer, TokenFrame

# vLLM, torch and transformers warn about themselves while they load.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

CODES = (7, 8)


class ScriptedVllm:
    """Stands in for vLLM's `LLM` and for the clock: plays its steps once as many requests are there as they name."""

    def __init__(self, requests: int, steps: list[tuple[int, list[Any]]]) -> None:
        self._requests, self._steps = requests, steps
        self._prompts: dict[str, Any] = {}
        self._now = 0
        self.llm_engine = self
        limits = SimpleNamespace(max_num_batched_tokens=2_048, max_num_seqs=256)
        self.vllm_config = SimpleNamespace(scheduler_config=limits)

    def __call__(self, weights: str, **engine_args: Any) -> ScriptedVllm:
        return self

    def perf_counter_ns(self) -> int:
        return self._now

    def add_request(self, request_id: str, prompt: Any, params: Any) -> None:
        self._prompts[request_id] = prompt["prompt_token_ids"]

    def step(self) -> list[Any]:
        if len(self._prompts) < self._requests:
            return []
        nanoseconds, outputs = self._steps.pop(0)
        self._now += nanoseconds
        for output in outputs:
            output.prompt_token_ids = self._prompts[output.request_id]
        return outputs


def output(request: int, text: str, cached: int = 0, *, is_last: bool = False) -> Any:
    """One token of a request: what vLLM returns of it in a step."""
    logprobs = SimpleNamespace(logprobs=[-0.1, -2.0, -3.0])
    completion = SimpleNamespace(text=text, token_ids=[1], logprobs=logprobs)
    return SimpleNamespace(request_id=str(request), outputs=[completion], num_cached_tokens=cached, finished=is_last)


def script(monkeypatch: pytest.MonkeyPatch, requests: int, *steps: tuple[int, list[Any]]) -> None:
    scripted = ScriptedVllm(requests, list(steps))
    monkeypatch.setattr("vllm.LLM", scripted)
    monkeypatch.setattr(engine_module, "time", scripted)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_text_pays_for_every_step_it_lives_through(monkeypatch: pytest.MonkeyPatch, devices: int) -> None:
    script(
        monkeypatch,
        3,
        (1_000, []),  # prompts are begun
        (3_000, [output(0, '{"a', cached=20), output(1, "{")]),  # 81 and 61 tokens
        (500, [output(0, '": '), output(1, "")]),
        (2_300, [output(0, "1}", is_last=True), output(2, "", cached=90, is_last=True)]),  # 1 and 21
        (0, []),
        (100, [output(1, "}", is_last=True)]),
    )
    engine = ReviewEngine("", {}, CODES, {}, max_output_tokens=8, devices=devices)
    written, scored = engine.write([[5] * 100, [5] * 60]), engine.score([[5] * 110])
    texts, scores = written.result(), scored.result()
    engine.close()
    assert texts.texts == ['{"a": 1}', "{}"]
    assert texts.output_tokens.tolist() == [3, 3]
    assert texts.cached_tokens.tolist() == [20, 0]
    assert texts.input_tokens.tolist() == [100, 60]
    if devices == 1:
        assert texts.device_nanoseconds.tolist() == [2_281 + 250 + 104, 1_719 + 250 + 100]
        assert scores.device_nanoseconds.tolist() == [2_196]
    assert texts.device_nanoseconds.sum() + scores.device_nanoseconds.sum() == 6_900 * devices


def test_labels_pay_in_the_one_step_they_live(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (output(number, "", cached=4, is_last=True) for number in range(2))
    script(monkeypatch, 2, (1_000, []), (10, [first]), (999, [second]))
    engine = LabelEngine("", {}, TokenFrame((1, 2, 3, 4), (5,), CODES))
    scores = engine.score([np.zeros(5, np.int32), np.zeros(50, np.int32)]).result()
    engine.close()
    assert scores.label_logprobs.tolist() == np.array([[-2.0, -3.0]] * 2, np.float32).tolist()
    assert scores.input_tokens.tolist() == [10, 55]
    assert scores.output_tokens.tolist() == [1, 1]
    assert scores.device_nanoseconds.tolist() == [1_010, 999]


class CountingClock:
    """Every look at it is a microsecond later: every step of the engine takes just that."""

    def __init__(self) -> None:
        self.now = 0

    def perf_counter_ns(self) -> int:
        self.now += 1_000
        return self.now


@pytest.mark.prove  # as `make demo` shows of a whole run
def test_the_shares_of_a_real_engine_add_up_and_what_it_writes_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = resolve_model("starter")
    tokenizer = ModelTokenizer(model)
    frame = tokenizer.encode_frame(
        local_prompt(assign_codes(CLAIM_LABELS, tokenizer.is_single_token, "starter"), DEFAULT_INSTRUCTIONS)
    )
    texts = [f"The office is offline since {hour} o'clock. " * hour for hour in range(1, 25)]
    prompts = [[*frame.prefix, *ids, *frame.suffix] for ids in tokenizer.encode_documents(texts)]
    words = ["größer ✓ 円", "naïve 🙂🙂 end"]  # several tokens to a character
    clock = CountingClock()
    monkeypatch.setattr(engine_module, "time", clock)
    arguments = engine_arguments(model, max_num_seqs=8, max_num_batched_tokens=256)
    engine = ReviewEngine(model.weights, arguments, frame.codes, {"enum": words}, max_output_tokens=64)
    alone = engine.write(prompts[:1]).result()
    assert clock.now // 2 >= alone.device_nanoseconds[0] >= 1_000 * alone.output_tokens[0]
    written, scored = engine.write(prompts), engine.score(prompts)
    told, scores = written.result(), scored.result()
    engine.close()
    assert {*alone.texts, *told.texts} <= {f'"{word}"' for word in words}
    shares = [part.device_nanoseconds for part in (alone, told, scores)]
    assert sum(int(part.sum()) for part in shares) == clock.now // 2
    assert all((part > 0).all() for part in shares)
