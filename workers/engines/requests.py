"""What an engine is asked shard by shard: requests on their way, and the arrays that their outputs fill.

In: outputs of engine steps. Out: futures of whole shards. Knows nothing of vLLM but the bound on one request's labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.cascade.confidence import refuse_no_probabilities
from pipelines.errors import EngineError

# vLLM's own bound on `logprob_token_ids` (sampling_params.MAX_LOGPROB_TOKEN_IDS in 0.32): a constant, and on a GPU the
# size of a buffer, so that no engine argument raises it. For more labels the same prompt is asked again.
LABELS_A_REQUEST = 128


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
class Shard:
    """Requests of one kind; ``keep`` puts what is wanted of a row's output, or of a part of it, into ``result``."""

    prompt: Callable[[int], list[int]]
    params: Callable[[int], Sequence[Any]]  # of a row: for each of them it is a request
    keep: Callable[[int, int, Any], None]  # row, which of its params, output
    result: ShardScores | ShardTexts
    items: int
    with_adapter: bool = True

    def __post_init__(self) -> None:
        self.future: Future[Any] = Future()
        self.remaining = sum(len(self.params(row)) for row in range(self.items))


@dataclass(slots=True)
class Request:
    """One prompt on its way; ``part`` says with which of its row's params."""

    shard: Shard
    row: int
    part: int
    has_begun: bool = False


def requests_for(labels: int) -> int:
    """How often each prompt is asked, so that its answers tell of so many labels."""
    return math.ceil(labels / LABELS_A_REQUEST)


def take(output: Any, running: dict[str, Request]) -> tuple[Request, int]:
    """Keep what a step brought for one request; the tokens processed for it since its last output come second."""
    request = running[output.request_id]
    completion, shard, row = output.outputs[0], request.shard, request.row
    result = shard.result
    shard.keep(row, request.part, completion)
    tokens = len(completion.token_ids)
    result.output_tokens[row] += tokens
    if not request.has_begun:  # its first output: the prompt has just been processed
        request.has_begun = True
        read, cached = len(output.prompt_token_ids), output.num_cached_tokens or 0
        result.input_tokens[row] += read
        result.cached_tokens[row] += cached
        tokens += read - cached
    if output.finished:
        del running[output.request_id]
        shard.remaining -= 1
    return request, tokens


def settle(open_shards: list[Shard]) -> None:
    """Hand over the shards of which every row has finished."""
    finished = [shard for shard in open_shards if not shard.remaining]
    open_shards[:] = [shard for shard in open_shards if shard.remaining]
    for shard in finished:
        try:
            if isinstance(shard.result, ShardScores):
                refuse_no_probabilities(shard.result.label_logprobs, "prompts of a shard")
        except EngineError as error:
            shard.future.set_exception(error)
        else:
            shard.future.set_result(shard.result)


def zeros(count: int) -> list[NDArray[np.int64]]:
    """The counting arrays of a result, to be added to."""
    return [np.zeros(count, np.int64) for _ in range(4)]
