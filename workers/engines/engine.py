"""vLLM, fed without pause: prompts of token ids in; log-probabilities of the label codes, or JSON, out.

The only importer of vLLM. One thread owns the engine and does nothing but add requests and step; shards come in
from other threads and leave as futures. Knows nothing of Ray, stores or tasks.

`LLM.generate` would drain the engine at the end of every shard; adding requests to the running engine does not.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.costs.accounting import share_nanoseconds
from pipelines.errors import EngineError
from workers.engines.adapters import Adapter, adapter_here, engine_arguments
from workers.engines.requests import LABELS_A_REQUEST, Request, Shard, ShardScores, ShardTexts, settle, take, zeros
from workers.engines.tokens import TokenFrame

log = logging.getLogger(__name__)

# A tenth of what bfloat16 tells apart near a log-probability of -1: whatever an adapter does is more.
_LEAST_CHANGE = 1e-3
_PROBE_TOKENS = 64


def most_requests(batched_tokens: int, running: int, uncached_tokens: float) -> int:
    """How many requests an engine holds at a time, so that it never runs dry between two steps.

    Args:
        batched_tokens: that one step processes at most.
        running: that one step works on at most.
        uncached_tokens: that a request brings on average; few of short documents, whose frame is in the cache.
    """
    return max(2 * running, math.ceil(2 * batched_tokens / max(uncached_tokens, 1.0)))


class _Engine:
    """One running engine, and the thread that owns it."""

    def __init__(
        self,
        weights: str,
        engine_args: Mapping[str, Any],
        codes: Sequence[int],
        devices: float,
        adapter: Adapter | None = None,
    ) -> None:
        # Imported late: the environment that vLLM reads at import is set by the caller just before.
        from vllm import LLM
        from vllm.inputs.engine import tokens_input

        self._tokens_input = tokens_input
        # max_num_batched_tokens etc. are left to vLLM.
        arguments = {**engine_args, **(engine_arguments(adapter) if adapter else {})}
        self._engine = LLM(weights, **arguments).llm_engine
        self._scheduler = self._engine.vllm_config.scheduler_config
        self._adapter = adapter
        self._with_adapter = {"lora_request": self._load(adapter)} if adapter else {}
        self._params_of = cache(_label_params)
        self._label_params = self._params_of(tuple(codes))
        self._codes = len(codes)
        self._devices = devices
        self._inbox: queue.SimpleQueue[Shard | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def _load(self, adapter: Adapter) -> Any:
        """What every request is to name."""
        from vllm.lora.request import LoRARequest

        request = LoRARequest(adapter.revision, 1, str(adapter_here(adapter)))
        try:
            self._engine.add_lora(request)
        except Exception as error:  # the files are a stranger's: vLLM raises whatever they bring about
            raise EngineError(
                f"adapter '{adapter.source}' cannot be loaded over this model: {type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}; train it on this model (pipeline adapt), or leave it out"
            ) from error
        return request

    def refuse_idle_adapter(self, frame: TokenFrame) -> None:
        """An adapter that the engine ignores looks like one that works: its answers to some prompts must differ.

        Raises:
            EngineError: it changes nothing.
        """
        if self._adapter is None:
            return
        texts = [(), frame.prefix[:_PROBE_TOKENS], frame.prefix[-_PROBE_TOKENS:], frame.prefix]
        prompts = [[*frame.prefix, *text, *frame.suffix] for text in texts]
        # The second without finds its prompts in the cache, which rounds otherwise: so much is no change.
        plain, again, adapted = (
            self._label(prompts.__getitem__, len(prompts), with_adapter).result().label_logprobs
            for with_adapter in (False, False, True)
        )
        noise = float(np.abs(plain - again).max())
        if float(np.abs(adapted - plain).max()) <= max(_LEAST_CHANGE, noise):
            raise EngineError(
                f"adapter '{self._adapter.source}' changes nothing: with and without it, the engine gives every label "
                "the same probability; train it anew, or leave model.adapter out"
            )

    def _label(self, prompt: Callable[[int], list[int]], count: int, with_adapter: bool = True) -> Future[ShardScores]:
        """Queue requests for one token: the log-probabilities of the codes at its place.

        Each is over the whole vocabulary, so those of several requests about one prompt stand side by side as they are.
        """
        scores = ShardScores(np.empty((count, self._codes), np.float32), *zeros(count))

        def keep(row: int, part: int, completion: Any) -> None:
            first = part * LABELS_A_REQUEST
            # Position 0 is the token the engine would have sampled; the codes follow in the order asked.
            scores.label_logprobs[row, first : first + LABELS_A_REQUEST] = completion.logprobs.logprobs[1:]

        params = self._label_params
        return self._queue(Shard(prompt, lambda _: params, keep, scores, count, with_adapter))

    def _queue(self, shard: Shard) -> Future[Any]:
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
        open_shards: list[Shard] = []
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

    def _loop(self, open_shards: list[Shard]) -> None:
        waiting: deque[Request] = deque()  # not yet given to the engine
        running: dict[str, Request] = {}
        ids = itertools.count()
        unshared_nanoseconds = ended = uncached = 0
        while True:
            while not (running or waiting) or not self._inbox.empty():  # blocks only when there is nothing to do
                shard = self._inbox.get()
                if shard is None:
                    return
                open_shards.append(shard)
                # Those about one prompt one after the other: the later find it in the cache.
                rows = range(shard.items)
                waiting.extend(Request(shard, row, part) for row in rows for part in range(len(shard.params(row))))
            limits, mean = self._scheduler, uncached / ended if ended else math.inf
            most = most_requests(limits.max_num_batched_tokens, limits.max_num_seqs, mean)
            while waiting and len(running) < most:
                request = waiting.popleft()
                request_id, shard = str(next(ids)), request.shard
                adapter = self._with_adapter if shard.with_adapter else {}
                prompt = self._tokens_input(shard.prompt(request.row))
                self._engine.add_request(request_id, prompt, shard.params(request.row)[request.part], **adapter)
                running[request_id] = request
            started = time.perf_counter_ns()
            outputs = self._engine.step()
            unshared_nanoseconds += time.perf_counter_ns() - started
            if outputs:  # else the step worked on prompts that the next one ends
                worked = [take(output, running) for output in outputs]
                ended, uncached = ended + len(worked), uncached + sum(tokens for _, tokens in worked)
                self._share(unshared_nanoseconds, worked)
                unshared_nanoseconds = 0
                settle(open_shards)

    def _share(self, nanoseconds: int, worked: Sequence[tuple[Request, int]]) -> None:
        """Share the engine's time among the rows that it brought forward, by the tokens that each made it process."""
        weights = np.array([tokens for _, tokens in worked], dtype=np.int64)
        shares = share_nanoseconds(round(nanoseconds * self._devices), weights).tolist()
        for (request, _), share in zip(worked, shares, strict=True):
            request.shard.result.device_nanoseconds[request.row] += share


def _label_params(codes: tuple[int, ...]) -> list[Any]:
    """One token, and the log-probabilities of the codes at its place; one object for all requests of a kind."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return [
        SamplingParams(
            max_tokens=1,
            temperature=0,
            logprob_token_ids=list(codes[first : first + LABELS_A_REQUEST]),
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_clone=True,  # what vLLM sets in it is the same each time
        )
        for first in range(0, len(codes), LABELS_A_REQUEST)
    ]


def _verify_once(params: Any) -> None:
    """Spare all requests but the first vLLM's check of their parameters, which makes a grammar of the schema anew."""
    verify = params.verify

    def verify_first(*arguments: Any) -> None:
        verify(*arguments)
        params.verify = lambda *_: None

    params.verify = verify_first


class LabelEngine(_Engine):
    """Scores shards of documents for one prompt frame."""

    def __init__(
        self,
        weights: str,
        engine_args: Mapping[str, Any],
        frame: TokenFrame,
        devices: float = 1,
        adapter: Adapter | None = None,
    ) -> None:
        """Load the model and start stepping.

        Args:
            weights: folder or Hugging Face id.
            engine_args: vLLM engine arguments.
            frame: tokens around every document.
            devices: GPUs (or cores) this engine holds; a second of its time is that many device-seconds.
            adapter: over the weights.

        Raises:
            EngineError: the adapter cannot be loaded.
        """
        # Text never enters the engine, so no tokenizer is loaded.
        super().__init__(weights, {"skip_tokenizer_init": True, **engine_args}, frame.codes, devices, adapter)
        self._frame = frame

    def score(self, documents: Sequence[NDArray[np.int32]], frame: TokenFrame | None = None) -> Future[ShardScores]:
        """Queue a shard: token ids of each document. The future fails if the engine does.

        Args:
            documents: what stands in the frame.
            frame: another than the engine's own, of the same codes.
        """
        frame = self._frame if frame is None else frame
        prefix, suffix = frame.prefix, frame.suffix
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
        devices: float = 1,
        adapter: Adapter | None = None,
    ) -> None:
        """Load the model and its tokenizer, which the grammar needs, and start stepping.

        Args:
            weights: folder or Hugging Face id.
            engine_args: vLLM engine arguments.
            codes: token ids of the answers to a claim.
            schema: of what is written.
            max_output_tokens: where what is written is cut.
            devices: GPUs (or cores) this engine holds; a second of its time is that many device-seconds.
            adapter: over the weights, for claims; for what is written too, unless it is for verification alone.

        Raises:
            EngineError: the adapter cannot be loaded.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        def text_params(max_tokens: int) -> Any:
            params = SamplingParams(
                max_tokens=max_tokens,
                temperature=0,
                structured_outputs=StructuredOutputsParams(json=dict(schema)),
                skip_clone=True,
                # Every step tells which requests it brought a token: its time is theirs, not of those that end in it.
                output_kind=RequestOutputKind.DELTA,
            )
            _verify_once(params)
            return params

        self._max_output_tokens = max_output_tokens
        self._writes_with_adapter = adapter is not None and not adapter.is_for_verification
        self._text_params = cache(text_params)
        # With white space wherever it likes, a model that is at a loss would write that to the end.
        structured = {"structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True}}
        super().__init__(weights, structured | dict(engine_args), codes, devices, adapter)

    def write(self, prompts: Sequence[list[int]], max_output_tokens: int | None = None) -> Future[ShardTexts]:
        """Queue whole prompts for an answer each. The future fails if the engine does.

        Args:
            prompts: token ids.
            max_output_tokens: another limit than the engine's own; the end of the context is one in any case.
        """
        texts = ShardTexts([""] * len(prompts), *zeros(len(prompts)))

        def keep(row: int, _: int, completion: Any) -> None:
            texts.texts[row] += completion.text

        params = self._text_params(max_output_tokens or self._max_output_tokens)
        shard = Shard(prompts.__getitem__, lambda _: [params], keep, texts, len(prompts), self._writes_with_adapter)
        return self._queue(shard)

    def score(self, prompts: Sequence[list[int]]) -> Future[ShardScores]:
        """Queue whole prompts for a claim each. The future fails if the engine does."""
        return self._label(prompts.__getitem__, len(prompts))
