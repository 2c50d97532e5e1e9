"""One row of the review benchmark, in a process of its own: start, warm up, review, say how long it took.

``python -m tests.bench.review_rows ROW RUN_ROOT ANSWER``; run by `tests.bench.reviews`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.questions.code_review import ReviewQuestion
from flows.stages.scoring import start_engines
from pipelines.scored_parts import predictions_of, read_scored_part
from pipelines.tasks.code_review.answers import engine_answer_schema
from tests.bench.children import answers_of
from tests.bench.workload import WARM_SHARDS, Workload, open_workload
from workers.engines.catalogue import catalogue
from workers.engines.feed import ShardFeed
from workers.engines.pool import EnginePool
from workers.engines.requests import ShardScores, ShardTexts
from workers.engines.reviews import Reviewer

_START_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Timing:
    """What a row did between its go and its last item; ``output_tokens`` are those of the reviews."""

    items: int
    claims: int
    seconds: float
    output_tokens: int
    verification_share: float  # of the engines' time
    cached_share: float  # of the tokens of verification's prompts


class _RawVllm:
    """In the place of the product's engine: one `LLM.generate` for each pass over all pieces at once."""

    def __init__(self, workload: Workload, question: ReviewQuestion) -> None:
        from vllm import LLM, SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        model = workload.run.model
        self._engine = LLM(
            model.weights,
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            **{**catalogue().devices["cpu"].engine, **model.engine},
        )
        self._writing = SamplingParams(
            max_tokens=question.review_settings.max_output_tokens,
            temperature=0,
            structured_outputs=StructuredOutputsParams(json=engine_answer_schema()),
        )
        self._scoring = SamplingParams(
            max_tokens=1,
            temperature=0,
            logprob_token_ids=list(question.frame.codes),
            flat_logprobs=True,
            detokenize=False,
        )
        self._codes = len(question.frame.codes)
        self.seconds = {"write": 0.0, "score": 0.0}

    def write(self, prompts: Sequence[list[int]], max_output_tokens: int | None = None) -> Future[ShardTexts]:
        """The review pass, or once more what was cut in it."""
        parameters = self._writing.clone()
        if max_output_tokens is not None:
            parameters.max_tokens = max_output_tokens
        outputs = self._generate("write", prompts, parameters)
        return _done(ShardTexts([output.outputs[0].text for output in outputs], *_usage(outputs)))

    def score(self, prompts: Sequence[list[int]]) -> Future[ShardScores]:
        """The verification pass."""
        outputs = self._generate("score", prompts, self._scoring)
        logprobs = [output.outputs[0].logprobs.logprobs[1:] for output in outputs]
        return _done(ShardScores(np.array(logprobs, np.float32).reshape(-1, self._codes), *_usage(outputs)))

    def _generate(self, what: str, prompts: Sequence[list[int]], parameters: Any) -> list[Any]:
        given: list[Any] = [{"prompt_token_ids": prompt} for prompt in prompts]
        started = time.perf_counter()
        outputs: list[Any] = self._engine.generate(given, parameters, use_tqdm=False)
        self.seconds[what] += time.perf_counter() - started
        return outputs


def _done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def _usage(outputs: Sequence[Any]) -> list[Any]:
    """Tokens in, of them cached, out; and no time, which is taken for all at once."""
    counts = [
        (len(output.prompt_token_ids), output.num_cached_tokens or 0, len(output.outputs[0].token_ids), 0)
        for output in outputs
    ]
    return list(np.array(counts, np.int64).reshape(-1, 4).T)


def time_raw(workload: Workload) -> Timing:
    """One in-process engine per core, all in use at once, each with its equal part of the diffs."""
    os.environ.update(catalogue().devices["cpu"].environment)
    engines = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    go, answers = context.Barrier(engines), context.Queue()
    arguments = (workload.run.store.root, engines, go, answers)
    processes = [context.Process(target=_review, args=(part, *arguments)) for part in range(engines)]
    for process in processes:
        process.start()
    seconds, reviews = zip(*answers_of(processes, answers, _START_TIMEOUT_SECONDS), strict=True)
    writing, scoring = (sum(each[what] for each in seconds) for what in ("write", "score"))
    slowest = max(sum(each.values()) for each in seconds)
    return _timing(pa.concat_tables(reviews), slowest, scoring / (writing + scoring))


def _review(part: int, root: str, parts: int, go: Any, answers: Any) -> None:
    workload = open_workload(root)
    question = _question(workload)
    engine = _RawVllm(workload, question)
    reviewer = Reviewer(engine, question.review_settings, question.tokenizer.encode_documents)

    def review(shards: range) -> pa.Table:
        plan = workload.table(shards)
        # Every second diff: halves of equal length, so that neither engine waits for the other at the end.
        return reviewer.review(plan.filter(pc.is_valid(plan["text"])).take(pa.array(range(part, len(plan), parts))))

    review(range(WARM_SHARDS))
    engine.seconds = {"write": 0.0, "score": 0.0}
    go.wait(_START_TIMEOUT_SECONDS)
    reviews = review(workload.measured_shards)
    answers.put((engine.seconds, reviews))


def time_sluice(workload: Workload) -> Timing:
    """The product's scoring stage: committed plan parts in, committed prediction parts out."""
    pool = start_engines(workload.run)
    assert isinstance(pool, EnginePool)
    try:
        in_flight = workload.run.question.shards_in_flight(workload.plan.shards, workload.plan.document_tokens)
        pool.score(ShardFeed.of(range(WARM_SHARDS)), lambda report: None, lambda: in_flight)
        started = time.perf_counter()
        pool.score(ShardFeed.of(workload.measured_shards), lambda report: None, lambda: in_flight)
        seconds = time.perf_counter() - started
    finally:
        pool.close()
    store = workload.run.store
    parts = (predictions_of(read_scored_part(store, shard)) for shard in workload.measured_shards)
    reviews = pa.concat_tables(parts)
    share = _sum(reviews["verification_nanoseconds"]) / _sum(reviews["device_nanoseconds"])
    return _timing(reviews, seconds, share)


ROWS: dict[str, Callable[[Workload], Timing]] = {"raw vLLM": time_raw, "sluice scoring stage": time_sluice}


def _question(workload: Workload) -> ReviewQuestion:
    assert isinstance(workload.run.question, ReviewQuestion)
    return workload.run.question


def _timing(reviews: pa.Table, seconds: float, verification_share: float) -> Timing:
    claims = sum(_sum(pc.list_value_length(reviews[name])) for name in ("findings", "clean_claims"))
    asked = _sum(reviews["verification_input_tokens"])
    return Timing(
        items=len(reviews),
        claims=claims,
        seconds=seconds,
        output_tokens=_sum(reviews["output_tokens"]) - claims,
        verification_share=verification_share,
        cached_share=_sum(reviews["verification_cached_tokens"]) / asked if asked else 0.0,
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
