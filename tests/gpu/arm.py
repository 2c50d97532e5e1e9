"""One engine on a GPU: the product's feeding of it against `LLM.generate`, same engine, same process, in turns.

``python -m tests.gpu.arm ARM_JSON ANSWER`` starts the engine, measures once it reads a line, writes its answer as
JSON; run by `tests.gpu.engines`. Documents are random token ids, drawn anew for every measurement, so that
only the frame can be found in the prefix cache.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.tasks.code_review.answers import engine_answer_schema
from tests.gpu.shapes import write_shape
from workers.engines.catalogue import catalogue

_SHARD_TOKENS = 131_072  # the largest shard that the product makes
_WARM_DOCUMENTS = 256
_PROFILED_DOCUMENTS = 256
_WRITTEN_TOKENS = 24  # what an answer in JSON takes
_REVIEW_TOKENS = 128  # of an answer at most, and there the random weights leave it
_TOKENIZER = Path(__file__).parents[2] / "sample_data" / "review_model"


@dataclass(frozen=True)
class Arm:
    """An arrangement to measure; ``engine`` is over the product's arguments, ``frame`` and ``document`` are tokens.

    Those of a wave share the card: each takes ``kv_gib`` for its cache.
    """

    name: str
    shape: str
    wave: int = 0
    kv_gib: int = 10
    processes: bool = False
    engine: dict[str, Any] = field(default_factory=dict)
    documents: int = 2048
    frame: int = 300
    document: int = 300
    labels: int = 16
    rounds: int = 2
    written: bool = False
    reviews: int = 0
    queued: tuple[int, ...] = ()
    layers: int | None = None


@dataclass(frozen=True)
class Measured:
    """Documents a second and what the engine told of its tokens; ``busy`` by the driver's own count."""

    items_per_second: float
    tokens_per_second: float
    cached_share: float
    busy: float | None


def _documents(random: np.random.Generator, arm: Arm, count: int) -> list[NDArray[np.int32]]:
    """Token ids of documents, half to one and a half times the mean length."""
    lengths = random.integers(arm.document // 2, arm.document + arm.document // 2 + 1, count)
    return [random.integers(1_000, 100_000, length, dtype=np.int32) for length in lengths]


@contextmanager
def _busy() -> Iterator[list[float]]:
    """Share of the time in which a kernel ran, as the driver samples it, put into the list at the end."""
    shares: list[float] = []
    from vllm.third_party import pynvml

    try:
        pynvml.nvmlInit()
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
    except pynvml.NVMLError as error:  # no NVIDIA driver: a machine on which this is only tried out
        print(f"no utilisation: {type(error).__name__}", file=sys.stderr)
        yield shares
        return
    samples: list[int] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.1):
            samples.append(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    yield shares
    stop.set()
    thread.join()
    if len(samples) > 10:
        shares.append(sum(samples[5:]) / len(samples[5:]) / 100)


class _Bench:
    def __init__(self, arm: Arm) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if arm.processes else "0"
        import vllm
        from vllm import SamplingParams

        self.arm, self.random = arm, np.random.default_rng(20261127)
        folder = write_shape(arm.shape, Path(tempfile.mkdtemp()) / arm.shape, arm.layers)
        if arm.reviews:  # a grammar is over a tokenizer's words; a small one's do
            for name in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(_TOKENIZER / name, folder)
        arguments = {
            "load_format": "dummy",
            "skip_tokenizer_init": not arm.reviews,
            "max_model_len": 16_384,
            # Less than is free, whatever the others of the wave have taken; the cache's size is said.
            "gpu_memory_utilization": 0.05,
            "kv_cache_memory_bytes": arm.kv_gib * 2**30,
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
            **catalogue().devices["gpu"].engine,
            **({"language_model_only": True} if "3.5" in arm.shape else {}),
            **arm.engine,
        }
        self.llm = llm = vllm.LLM(str(folder), **arguments)
        # The product's own engine takes the one that is there: two would not fit on one card.
        vllm.LLM = lambda *_, **__: llm
        from workers.engines.engine import LabelEngine, ReviewEngine
        from workers.engines.tokens import TokenFrame

        ids = self.random.integers(1_000, 100_000, arm.frame)
        cut = max(arm.frame - 10, 0)
        codes = tuple(range(32, 32 + arm.labels))
        self.frame = TokenFrame(tuple(ids[:cut].tolist()), tuple(ids[cut:].tolist()), codes)
        self.ours = LabelEngine(str(folder), arguments, self.frame)
        self.reviewer: Callable[[], ReviewEngine] = lambda: ReviewEngine(
            str(folder), arguments, codes, engine_answer_schema(), _REVIEW_TOKENS
        )
        common = {"temperature": 0, "detokenize": False}
        self.one = SamplingParams(max_tokens=1, logprob_token_ids=list(codes), flat_logprobs=True, **common)
        self.many = SamplingParams(max_tokens=_WRITTEN_TOKENS, ignore_eos=True, **common)

    def raw(self, count: int, params: Any, arm: Arm | None = None) -> Measured:
        """`LLM.generate` on whole prompts of token ids."""
        documents = _documents(self.random, arm or self.arm, count)
        prompts = [{"prompt_token_ids": [*self.frame.prefix, *ids.tolist(), *self.frame.suffix]} for ids in documents]
        with _busy() as busy:
            started = time.perf_counter()
            outputs = self.llm.generate(prompts, params, use_tqdm=False)
            seconds = time.perf_counter() - started
        tokens = sum(len(output.prompt_token_ids) for output in outputs)
        cached = sum(output.num_cached_tokens or 0 for output in outputs)
        return Measured(count / seconds, tokens / seconds, cached / tokens, busy[0] if busy else None)

    def sluice(self, count: int, arm: Arm | None = None) -> Measured:
        """`LabelEngine.score`, two shards in flight, as the scorer actor keeps it fed."""
        arm = arm or self.arm
        documents = _documents(self.random, arm, count)
        size = max(1, _SHARD_TOKENS // (arm.document + arm.frame))
        shards = deque(documents[at : at + size] for at in range(0, count, size))
        running: deque[Any] = deque()
        scores = []
        with _busy() as busy:
            started = time.perf_counter()
            while shards or running:
                while shards and len(running) < 2:
                    running.append(self.ours.score(shards.popleft()))
                scores.append(running.popleft().result())
            seconds = time.perf_counter() - started
        tokens = sum(int(score.input_tokens.sum()) for score in scores)
        cached = sum(int(score.cached_tokens.sum()) for score in scores)
        return Measured(count / seconds, tokens / seconds, cached / tokens, busy[0] if busy else None)

    def reviews(self) -> dict[str, float]:
        """Answers a second under the grammar of a review, by `LLM.generate` before and after ours."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        schema = StructuredOutputsParams(json=engine_answer_schema())
        params = SamplingParams(max_tokens=_REVIEW_TOKENS, temperature=0, structured_outputs=schema)

        def prompts(count: int) -> list[list[int]]:
            documents = _documents(self.random, self.arm, count)
            return [[*self.frame.prefix, *ids.tolist(), *self.frame.suffix] for ids in documents]

        def raw(count: int) -> float:
            given = [{"prompt_token_ids": prompt} for prompt in prompts(count)]
            started = time.perf_counter()
            outputs = self.llm.generate(given, params, use_tqdm=False)
            rates["tokens_an_answer"] = sum(len(each.outputs[0].token_ids) for each in outputs) / count
            return count / (time.perf_counter() - started)

        def ours(count: int) -> float:
            shards = [prompts(min(128, count)) for _ in range(0, count, 128)]
            started = time.perf_counter()
            for future in [reviewer.write(shard) for shard in shards]:
                future.result()
            return sum(map(len, shards)) / (time.perf_counter() - started)

        rates: dict[str, float] = {}
        raw(64)  # the grammar is compiled
        rates["raw"] = raw(self.arm.reviews)
        reviewer = self.reviewer()
        ours(64)
        rates["ours"] = ours(self.arm.reviews)
        rates["raw_again"] = raw(self.arm.reviews)
        reviewer.close()
        return rates

    def profile(self) -> dict[str, float]:
        """Share of the time between the first and the last kernel in which none ran, and the kernels' own seconds."""
        import torch
        from torch.autograd import DeviceType
        from torch.profiler import ProfilerActivity, profile

        if not torch.cuda.is_available():
            return {}
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            self.sluice(_PROFILED_DOCUMENTS)
        spans = sorted(
            (event.time_range.start, event.time_range.end)
            for event in profiler.events()
            if event.device_type == DeviceType.CUDA
        )
        if not spans:
            return {}
        busy, until = 0.0, spans[0][0]
        gaps: list[float] = []
        for start, end in spans:
            if start > until:
                gaps.append(start - until)
            busy += max(0.0, end - max(start, until))
            until = max(until, end)
        wall = until - spans[0][0]
        return {"idle_share": 1 - busy / wall, "gaps_over_1ms": sum(gap for gap in gaps if gap > 1_000) / wall}


def measure(arm: Arm, ready: Path) -> dict[str, Any]:
    """Start the engine, touch ``ready``, wait for a line, warm up, measure ours and `LLM.generate` in turns."""
    started = time.perf_counter()
    bench = _Bench(arm)
    answer: dict[str, Any] = {"arm": asdict(arm), "start_seconds": time.perf_counter() - started}
    ready.touch()
    sys.stdin.readline()  # the others of the wave start, or are measured
    bench.raw(_WARM_DOCUMENTS, bench.one)
    bench.sluice(_WARM_DOCUMENTS)
    turns = [(bench.raw(arm.documents, bench.one), bench.sluice(arm.documents)) for _ in range(arm.rounds)]
    answer["raw"] = [asdict(raw) for raw, _ in turns]
    answer["ours"] = [asdict(ours) for _, ours in turns]
    if arm.written:
        answer["written"] = asdict(bench.raw(arm.documents // 2, bench.many))
    if arm.queued:
        import workers.engines.engine

        own = workers.engines.engine.most_requests
        short = Arm(**{**asdict(arm), "document": 40, "documents": arm.documents * 2})
        answer["short_raw"] = asdict(bench.raw(short.documents, bench.one, short))
        for queued in arm.queued:
            workers.engines.engine.most_requests = lambda *_, most=queued: most
            answer[f"short_ours_{queued}"] = asdict(bench.sluice(short.documents, short))
        workers.engines.engine.most_requests = own
    if arm.reviews:
        bench.ours.close()  # one thread owns the engine
        answer["reviews"] = bench.reviews()
    elif not arm.processes:
        answer["profile"] = bench.profile()
    return answer


def main() -> None:
    """Measure the arm given, write what was measured, end at once: the next one needs the card."""
    arm, answer = sys.argv[1:]
    Path(answer).write_text(
        json.dumps(measure(Arm(**json.loads(arm)), Path(answer).with_suffix(".ready"))), encoding="utf-8"
    )
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
