"""A model's weights in torch, and the log-probabilities of the label codes that it gives after a prompt.

In: a folder or Hugging Face id, adapters' folders, token ids. Out: a network, arrays. The same numbers as the engine's
but for its rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicCache

from pipelines.errors import JobError
from workers.adapting.examples import OrderedFrame, Tokens
from workers.engines.catalogue import ResolvedModel
from workers.engines.tokens import TokenFrame

# What goes through the network at a time where nothing is kept for gradients.
_MOST_TOKENS, _MOST_ROWS = 16_384, 32
# Rows are filled up to a multiple of 64, short ones to one of 16 or 32: on a CPU, torch keeps what it has worked out
# for each shape that it has met, which comes to gigabytes where every length is another shape.
_STEP, _FINER_STEPS = 64, ((128, 16), (256, 32))
# What is kept for gradients: bytes for each token, layer and unit of the width, as measured on the starter model.
_KEPT_BYTES = 130
_MOST_KEPT_BYTES = {"cpu": 1024**3, "cuda": 8 * 1024**3}


def device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_network(model: ResolvedModel) -> Any:
    """The base's weights, without any adapter.

    Raises:
        JobError: they cannot be loaded here.
    """
    pinned = {} if Path(model.weights).is_dir() else {"revision": model.base_revision}
    kind = torch.bfloat16 if device().type == "cuda" else torch.float32
    try:
        network = AutoModelForCausalLM.from_pretrained(model.weights, dtype=kind, **pinned)
    except (OSError, ValueError, ImportError) as error:
        raise JobError(
            [
                f"model: the weights of '{model.weights}' cannot be loaded for training ({type(error).__name__}: "
                f"{str(error).splitlines()[0][:200]}); name the unquantized model, as a transformers folder or id"
            ]
        ) from error
    if getattr(network.config, "quantization_config", None):
        raise JobError(
            [f"model: '{model.weights}' is quantized, and no adapter is trained over that; name the unquantized model"]
        )
    return network.to(device())


def answer_logits(network: Any, frame: TokenFrame, documents: Sequence[Tokens]) -> torch.Tensor:
    """Logits of the whole vocabulary at the answer's place: shape [documents, vocabulary], float32."""
    on, shares = device(), _shares_prefix(network)
    before = () if shares else frame.prefix
    rows = [torch.tensor([*before, *tokens.tolist(), *frame.suffix]) for tokens in documents]
    last = torch.tensor([len(row) - 1 for row in rows], device=on)
    # What fills a row stands after its answer's place, and nothing looks ahead: it needs no mask.
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    ids = torch.nn.functional.pad(ids, (0, filled(ids.shape[1]) - ids.shape[1])).to(on)
    places, where = torch.unique(last, return_inverse=True)
    with torch.autocast(on.type, torch.bfloat16):  # the arithmetic in which it is served
        past = {"past_key_values": _lend_prefix(network, frame, len(rows)), "use_cache": True} if shares else {}
        output = network(input_ids=ids, logits_to_keep=places, **past)
    logits: torch.Tensor = output.logits[torch.arange(len(rows), device=on), where].float()
    return logits


def filled(length: int) -> int:
    """How many tokens a row of this length is filled up to."""
    step = next((step for most, step in _FINER_STEPS if length <= most), _STEP)
    return length + -length % step


def _shares_prefix(network: Any) -> bool:
    """Whether every layer keeps keys and values of all that it has read, and nothing else."""
    config = network.config.get_text_config()
    layers = getattr(config, "layer_types", None) or ["full_attention"]
    return set(layers) == {"full_attention"} and not getattr(config, "sliding_window", None)


def _lend_prefix(network: Any, frame: TokenFrame, rows: int) -> DynamicCache:
    """The prompt's beginning is read once for all rows; gradients flow back through it."""
    opening = network(input_ids=torch.tensor([frame.prefix], device=device()), use_cache=True, logits_to_keep=1)
    layers = opening.past_key_values.layers
    return DynamicCache([(each.keys.expand(rows, -1, -1, -1), each.values.expand(rows, -1, -1, -1)) for each in layers])


def tokens_in_training(network: Any) -> int:
    """Tokens that may go through at a time where gradients are wanted; a longer document goes alone."""
    config = network.config.get_text_config()
    return int(_MOST_KEPT_BYTES[device().type] // (_KEPT_BYTES * config.num_hidden_layers * config.hidden_size))


def in_parts(lengths: Sequence[int], most_tokens: int = _MOST_TOKENS) -> Iterator[list[int]]:
    """Places of prompts that go through the network together, longest first."""
    part: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if part and (len(part) == _MOST_ROWS or (len(part) + 1) * lengths[part[0]] > most_tokens):
            yield part
            part = []
        part.append(place)
    if part:
        yield part


def score(
    network: Any, frame: OrderedFrame, documents: Sequence[Tokens], on_scored: Callable[[int], None] = lambda _: None
) -> NDArray[np.float32]:
    """Log-probabilities of the labels, in the job's order: shape [documents, labels]."""
    found = np.empty((len(documents), len(frame.order)), np.float32)
    network.eval()
    with torch.no_grad():
        for part in in_parts([len(tokens) + len(frame.frame) for tokens in documents]):
            logits = answer_logits(network, frame.frame, [documents[place] for place in part])
            found[part] = torch.log_softmax(logits, -1)[:, frame.codes].cpu().numpy()
            on_scored(len(part))
    return found
