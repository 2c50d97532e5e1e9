"""vLLM, fed without pause: prompts of token ids in, log-probabilities of the label codes out.

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
from collections.abc import Mapping, Sequence
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


@dataclass
class _Shard:
    documents: Sequence[NDArray[np.int32]]
    scores: ShardScores
    future: Future[ShardScores]
    remaining: int


@dataclass
class _Window:
    """Items that finished since engine time was last shared out."""

    nanoseconds: int = 0
    finished: list[tuple[_Shard, int, int]] = field(default_factory=list)


class LabelEngine:
    """One running engine that scores shards for one prompt frame."""

    def __init__(self, weights: str, engine_args: Mapping[str, Any], frame: TokenFrame, devices: int = 1) -> None:
        """Load the model and start stepping.

        Args:
            weights: folder or Hugging Face id.
            engine_args: vLLM engine arguments.
            frame: tokens around every document.
            devices: GPUs (or cores) this engine holds; a second of its time is that many device-seconds.
        """
        # Imported late: the environment that vLLM reads at import is set by the caller just before.
        from vllm import LLM, SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        self._tokens_input = tokens_input
        # max_num_batched_tokens etc. are left to vLLM; text never enters the engine, so no tokenizer is loaded.
        self._engine = LLM(weights, skip_tokenizer_init=True, **engine_args).llm_engine
        self._params = SamplingParams(
            max_tokens=1,
            temperature=0,
            logprob_token_ids=list(frame.codes),
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._frame = frame
        self._devices = devices
        self._inbox: queue.SimpleQueue[_Shard | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def score(self, documents: Sequence[NDArray[np.int32]]) -> Future[ShardScores]:
        """Queue a shard: token ids of each document. The future fails if the engine does."""
        count, labels = len(documents), len(self._frame.codes)
        zeros = [np.zeros(count, np.int64) for _ in range(4)]
        shard = _Shard(documents, ShardScores(np.empty((count, labels), np.float32), *zeros), Future(), count)
        if not count:
            shard.future.set_result(shard.scores)
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
                waiting.extend((shard, row) for row in range(len(shard.documents)))
            while waiting and len(running) < _QUEUED_REQUESTS:
                shard, row = waiting.popleft()
                request_id = str(next(ids))
                self._engine.add_request(request_id, self._prompt(shard, row), self._params)
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

    def _prompt(self, shard: _Shard, row: int) -> Any:
        return self._tokens_input([*self._frame.prefix, *shard.documents[row].tolist(), *self._frame.suffix])

    def _take(self, output: Any, shard: _Shard, row: int, window: _Window) -> None:
        logprobs = output.outputs[0].logprobs
        # Position 0 is the token the engine would have sampled; the codes follow in the order asked.
        shard.scores.label_logprobs[row] = logprobs.logprobs[1:]
        shard.scores.input_tokens[row] = len(output.prompt_token_ids)
        shard.scores.cached_tokens[row] = output.num_cached_tokens or 0
        shard.scores.output_tokens[row] = len(output.outputs[0].token_ids)
        worked = len(output.prompt_token_ids) - (output.num_cached_tokens or 0) + len(output.outputs[0].token_ids)
        window.finished.append((shard, row, worked))

    def _settle(self, window: _Window) -> None:
        """Share the window's engine time among the items that finished in it, by tokens they made it process."""
        weights = np.array([worked for _, _, worked in window.finished], dtype=np.int64)
        shares = share_nanoseconds(window.nanoseconds * self._devices, weights)
        for (shard, row, _), nanoseconds in zip(window.finished, shares, strict=True):
            shard.scores.device_nanoseconds[row] = nanoseconds
            shard.remaining -= 1
            if not shard.remaining:
                shard.future.set_result(shard.scores)
