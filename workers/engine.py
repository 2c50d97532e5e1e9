"""vLLM, fed without pause: prompts of token ids in; log-probabilities of the label codes, or JSON, out.

The only importer of vLLM. One thread owns the engine and does nothing but add requests and step; shards come in
from other threads and leave as futures. Knows nothing of Ray, stores or tasks.

`LLM.generate` would drain the engine at the end of every shard; adding requests to the running engine does not.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.costs.accounting import share_nanoseconds
from pipelines.errors import EngineError
from workers.tokens import TokenFrame

log = logging.getLogger(__name__)

# vLLM's own bound on `logprob_token_ids` (sampling_params.MAX_LOGPROB_TOKEN_IDS in 0.32).
MAX_LABELS = 128
# Requests the scheduler holds beyond those it runs: enough to never run dry between two steps.
_QUEUED_REQUESTS = 512


@dataclass(frozen=True)
class ShardScores:
    """Arrays of one shard, in the order of its prompts; shapes [items] and, for ``label_logprobs``, [items, labels]."""

    label_logprobs: NDArray[np.float32]
    input_tokens: NDArray[np.int64]
    cached_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    device_nanoseconds: NDArray[np.int64]


@dataclass(frozen=True)
class ShardTexts:
    """What was written for each prompt of a shard, and arrays of shape [items]."""

    texts: list[str]
    input_tokens: NDArray[np.int64]
    cached_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    device_nanoseconds: NDArray[np.int64]


@dataclass
class _Shard:
    """Requests of one kind; ``keep`` puts what is wanted of a row's completion into ``result``."""

    prompt: Callable[[int], list[int]]
    params: Any
    keep: Callable[[int, Any], None]
    result: ShardScores | ShardTexts
    future: Future[Any]
    items: int
    remaining: int


@dataclass
class _Window:
    """Items that finished since engine time was last shared out."""

    nanoseconds: int = 0
    finished: list[tuple[_Shard, int, int]] = field(default_factory=list)


class _Engine:
    """One running engine, and the thread that owns it."""

    def __init__(self, weights: str, engine_args: Mapping[str, Any], codes: Sequence[int], devices: int) -> None:
        # Imported late: the environment that vLLM reads at import is set by the caller just before.
        from vllm import LLM, SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        self._tokens_input = tokens_input
        # max_num_batched_tokens etc. are left to vLLM.
        self._engine = LLM(weights, **engine_args).llm_engine
        self._label_params = SamplingParams(
            max_tokens=1,
            temperature=0,
            logprob_token_ids=list(codes),
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._codes = len(codes)
        self._devices = devices
        self._inbox: queue.SimpleQueue[_Shard | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def _label(self, prompt: Callable[[int], list[int]], count: int) -> Future[ShardScores]:
        """Queue requests for one token: the log-probabilities of the codes at its place."""
        scores = ShardScores(np.empty((count, self._codes), np.float32), *_zeros(count))

        def keep(row: int, completion: Any) -> None:
            # Position 0 is the token the engine would have sampled; the codes follow in the order asked.
            scores.label_logprobs[row] = completion.logprobs.logprobs[1:]

        return self._queue(_Shard(prompt, self._label_params, keep, scores, Future(), count, count))

    def _queue(self, shard: _Shard) -> Future[Any]:
        if not shard.items:
            shard.future.set_result(shard.result)
            return shard.future
        with self._lock:
            if self._has_failed:
                raise EngineError("the engine has stopped after an earlier failure; see the log")
            self._inbox.put(shard)
        return shard.future

    def close(self) -> None:
        """Stop, once nothing is being scored any more."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_shards: list[_Shard] = []
        try:
            self._loop(open_shards)
        except Exception as error:  # the thread's edge: whatever vLLM raises must reach those who wait
            with self._lock:  # nobody can queue a shard between the last look into the inbox and the flag
                self._has_failed = True
                while not self._inbox.empty():
                    if (shard := self._inbox.get()) is not None:
                        open_shards.append(shard)
            for shard in (shard for shard in open_shards if not shard.future.done()):
                shard.future.set_exception(EngineError(f"vLLM failed: {type(error).__name__}: {error}"))
            log.error("the engine has stopped", exc_info=error)

    def _loop(self, open_shards: list[_Shard]) -> None:
        waiting: deque[tuple[_Shard, int]] = deque()  # rows not yet given to the engine
        running: dict[str, tuple[_Shard, int]] = {}
        ids = itertools.count()
        window = _Window()
        while True:
            while not (running or waiting) or not self._inbox.empty():  # blocks only when there is nothing to do
                shard = self._inbox.get()
                if shard is None:
                    return
                open_shards.append(shard)
                waiting.extend((shard, row) for row in range(shard.items))
            while waiting and len(running) < _QUEUED_REQUESTS:
                shard, row = waiting.popleft()
                request_id = str(next(ids))
                self._engine.add_request(request_id, self._tokens_input(shard.prompt(row)), shard.params)
                running[request_id] = (shard, row)
            started = time.perf_counter_ns()
            outputs = self._engine.step()
            window.nanoseconds += time.perf_counter_ns() - started
            for output in outputs:
                self._take(output, *running.pop(output.request_id), window)
            if window.finished:
                self._settle(window)
                open_shards[:] = [shard for shard in open_shards if shard.remaining]
                window = _Window()

    def _take(self, output: Any, shard: _Shard, row: int, window: _Window) -> None:
        shard.keep(row, output.outputs[0])
        shard.result.input_tokens[row] = len(output.prompt_token_ids)
        shard.result.cached_tokens[row] = output.num_cached_tokens or 0
        shard.result.output_tokens[row] = len(output.outputs[0].token_ids)
        worked = len(output.prompt_token_ids) - (output.num_cached_tokens or 0) + len(output.outputs[0].token_ids)
        window.finished.append((shard, row, worked))

    def _settle(self, window: _Window) -> None:
        """Share the window's engine time among the items that finished in it, by tokens they made it process."""
        weights = np.array([worked for _, _, worked in window.finished], dtype=np.int64)
        shares = share_nanoseconds(window.nanoseconds * self._devices, weights)
        for (shard, row, _), nanoseconds in zip(window.finished, shares, strict=True):
            shard.result.device_nanoseconds[row] = nanoseconds
            shard.remaining -= 1
            if not shard.remaining:
                shard.future.set_result(shard.result)


class LabelEngine(_Engine):
    """Scores shards of documents for one prompt frame."""

    def __init__(self, weights: str, engine_args: Mapping[str, Any], frame: TokenFrame, devices: int = 1) -> None:
        """Load the model and start stepping.

        Args:
            weights: folder or Hugging Face id.
            engine_args: vLLM engine arguments.
            frame: tokens around every document.
            devices: GPUs (or cores) this engine holds; a second of its time is that many device-seconds.
        """
        # Text never enters the engine, so no tokenizer is loaded.
        super().__init__(weights, {"skip_tokenizer_init": True, **engine_args}, frame.codes, devices)
        self._frame = frame

    def score(self, documents: Sequence[NDArray[np.int32]]) -> Future[ShardScores]:
        """Queue a shard: token ids of each document. The future fails if the engine does."""
        prefix, suffix = self._frame.prefix, self._frame.suffix
        return self._label(lambda row: [*prefix, *documents[row].tolist(), *suffix], len(documents))


class ReviewEngine(_Engine):
    """Writes answers that obey one JSON Schema, and scores claims: one token each."""

    def __init__(
        self,
        weights: str,
        engine_args: Mapping[str, Any],
        codes: Sequence[int],
        schema: Mapping[str, Any],
        max_output_tokens: int,
        devices: int = 1,
    ) -> None:
        """Load the model and its tokenizer, which the grammar needs, and start stepping.

        Args:
            weights: folder or Hugging Face id.
            engine_args: vLLM engine arguments.
            codes: token ids of the answers to a claim.
            schema: of what is written.
            max_output_tokens: where what is written is cut.
            devices: GPUs (or cores) this engine holds; a second of its time is that many device-seconds.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        self._text_params = SamplingParams(
            max_tokens=max_output_tokens,
            temperature=0,
            structured_outputs=StructuredOutputsParams(json=dict(schema)),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        # With white space wherever it likes, a model that is at a loss would write that to the end.
        structured = {"structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True}}
        super().__init__(weights, structured | dict(engine_args), codes, devices)

    def write(self, prompts: Sequence[list[int]]) -> Future[ShardTexts]:
        """Queue whole prompts for an answer each. The future fails if the engine does."""
        texts = ShardTexts([""] * len(prompts), *_zeros(len(prompts)))

        def keep(row: int, completion: Any) -> None:
            texts.texts[row] = completion.text

        shard = _Shard(prompts.__getitem__, self._text_params, keep, texts, Future(), len(prompts), len(prompts))
        return self._queue(shard)

    def score(self, prompts: Sequence[list[int]]) -> Future[ShardScores]:
        """Queue whole prompts for a claim each. The future fails if the engine does."""
        return self._label(prompts.__getitem__, len(prompts))


def _zeros(count: int) -> list[NDArray[np.int64]]:
    return [np.zeros(count, np.int64) for _ in range(4)]
