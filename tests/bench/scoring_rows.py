"""One row of the scoring benchmark, in a process of its own: start, warm up, score, say how long it took.

``python -m tests.bench.scoring_rows ROW RUN_ROOT ANSWER``; run by `tests.bench.scoring`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flows.questions.classification import LabelQuestion
from flows.stages.scoring import start_engines
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.tasks.classification import answer_schema
from tests.bench.children import answers_of
from tests.bench.workload import WARM_SHARDS, Workload, open_workload
from workers.engines.catalogue import DeviceDefaults, catalogue
from workers.engines.feed import ShardFeed
from workers.engines.pool import EnginePool

_ANSWER_TOKENS = 24
_START_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Timing:
    """What a row did between its go and its last item."""

    items: int
    seconds: float
    prompt_tokens: int
    output_tokens: int


def time_json_chat(workload: Workload) -> Timing:
    """`LLM.chat` as its documentation shows it: vLLM chooses processes and threads."""
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    question = workload.run.question
    assert isinstance(question, LabelQuestion)
    # The engine was never taught JSON and would fill its 24 tokens with blanks; this keeps its answers short.
    compact = {"backend": "xgrammar", "disable_any_whitespace": True}
    engine = LLM(workload.run.model.weights, structured_outputs_config=compact, **_engine_args(workload))
    parameters = SamplingParams(
        max_tokens=_ANSWER_TOKENS,
        temperature=0,
        structured_outputs=StructuredOutputsParams(json=answer_schema(question.labels)),
    )

    def conversations(shards: range) -> list[Any]:
        before, after = question.prompt.before, question.prompt.after
        texts = workload.table(shards)["text"].to_pylist()
        return [[{"role": "user", "content": f"{before}{text}{after}"}] for text in texts]

    def chat(messages: list[Any]) -> list[Any]:
        template = {"enable_thinking": False}
        answers: list[Any] = engine.chat(messages, parameters, use_tqdm=False, chat_template_kwargs=template)
        return answers

    chat(conversations(range(WARM_SHARDS)))
    messages = conversations(workload.measured_shards)
    started = time.perf_counter()
    outputs = chat(messages)
    return _timing(outputs, time.perf_counter() - started)


def time_fastest(workload: Workload) -> Timing:
    """One in-process engine per core, all in use at once, each with its equal part of the prompts."""
    os.environ.update(_device().environment)
    engines = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    go, answers = context.Barrier(engines + 1), context.Queue()
    arguments = (workload.run.store.root, engines, go, answers)
    processes = [context.Process(target=_generate, args=(part, *arguments)) for part in range(engines)]
    for process in processes:
        process.start()
    go.wait(_START_TIMEOUT_SECONDS)
    started = time.monotonic()
    ended, timings = zip(*answers_of(processes, answers, _START_TIMEOUT_SECONDS), strict=True)
    return Timing(
        items=sum(timing.items for timing in timings),
        seconds=max(ended) - started,
        prompt_tokens=sum(timing.prompt_tokens for timing in timings),
        output_tokens=sum(timing.output_tokens for timing in timings),
    )


def _generate(part: int, root: str, parts: int, go: Any, answers: Any) -> None:
    from vllm import LLM, SamplingParams

    workload = open_workload(root)
    frame = workload.run.question.asked_of_engine.frame
    engine = LLM(workload.run.model.weights, skip_tokenizer_init=True, **_engine_args(workload))
    parameters = SamplingParams(
        max_tokens=1, temperature=0, logprob_token_ids=list(frame.codes), flat_logprobs=True, detokenize=False
    )

    def prompts(shards: range) -> list[Any]:
        # Every second document: halves of equal length, so that neither engine waits for the other at the end.
        documents = workload.table(shards)["tokens"].to_pylist()[part::parts]
        return [{"prompt_token_ids": [*frame.prefix, *(tokens or ()), *frame.suffix]} for tokens in documents]

    engine.generate(prompts(range(WARM_SHARDS)), parameters, use_tqdm=False)
    measured = prompts(workload.measured_shards)
    go.wait(_START_TIMEOUT_SECONDS)
    outputs = engine.generate(measured, parameters, use_tqdm=False)
    answers.put((time.monotonic(), _timing(outputs, 0)))  # the monotonic clock is the same in all processes


def time_sluice(workload: Workload) -> Timing:
    """The product's scoring stage: committed plan parts in, committed prediction parts out."""
    pool = start_engines(workload.run)
    assert isinstance(pool, EnginePool)
    try:
        pool.score(ShardFeed.of(range(WARM_SHARDS)), lambda report: None)
        started = time.perf_counter()
        pool.score(ShardFeed.of(workload.measured_shards), lambda report: None)
        seconds = time.perf_counter() - started
    finally:
        pool.close()
    store = workload.run.store
    parts = (predictions_of(read_scored_part(store, shard)) for shard in workload.measured_shards)
    table = pa.concat_tables(parts)
    return Timing(len(table), seconds, _sum(table["input_tokens"]), _sum(table["output_tokens"]))


ROWS: dict[str, Callable[[Workload], Timing]] = {
    "raw, usual JSON chat": time_json_chat,
    "raw, fastest": time_fastest,
    "sluice scoring stage": time_sluice,
}


def _device() -> DeviceDefaults:
    return catalogue().devices["cpu"]


def _engine_args(workload: Workload) -> dict[str, Any]:
    return {**_device().engine, **workload.run.model.engine}


def _timing(outputs: Sequence[Any], seconds: float) -> Timing:
    return Timing(
        items=len(outputs),
        seconds=seconds,
        prompt_tokens=sum(len(output.prompt_token_ids) for output in outputs),
        output_tokens=sum(len(output.outputs[0].token_ids) for output in outputs),
    )


def _sum(column: pa.ChunkedArray[Any]) -> int:
    return int(pc.sum(column).as_py())


def main() -> None:
    """Measure the row named first."""
    row, root, answer = sys.argv[1:]
    timing = ROWS[row](open_workload(root))
    Path(answer).write_text(json.dumps(asdict(timing)), encoding="utf-8")


if __name__ == "__main__":
    main()
