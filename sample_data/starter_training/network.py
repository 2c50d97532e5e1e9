"""The network: a small Qwen3, and its label logits with the prompt's beginning computed once per batch.

In: rows of token ids. Out: logits of the labels and the training loss. Knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.cache_utils import DynamicCache

from sample_data.starter_training.tokens import CONTEXT_TOKENS, PAD_ID, TURN_END_ID, VOCABULARY_SIZE, FrameIds

# Next-token loss on part of the document's tokens: few labels alone teach word meanings slowly.
LANGUAGE_WEIGHT = 0.2
LANGUAGE_SHARE = 0.25
# Without it a few epochs learn the training phrases by heart and new phrases get confident nonsense.
DROPOUT = 0.15
# Part of the answer spread over the other labels: a letter is never worth certainty.
LABEL_SMOOTHING = 0.05


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded rows of document ids followed by the prompt's end; padding is never looked at."""

    ids: Tensor
    document_lengths: Tensor
    lengths: Tensor


def build_network() -> Qwen3ForCausalLM:
    """Two million parameters: wide and shallow, because an engine step on CPU pays per layer."""
    config = Qwen3Config(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        # One over the root of the width: the usual 0.02 is made for wide networks, and this one barely starts with it.
        initializer_range=0.06,
        max_position_embeddings=CONTEXT_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=TURN_END_ID,
        pad_token_id=PAD_ID,
    )
    network = Qwen3ForCausalLM(config)  # type: ignore[no-untyped-call]
    _add_dropout(network)
    return network


def _add_dropout(network: Qwen3ForCausalLM) -> None:
    """Qwen3 has none of its own; hooks leave the saved architecture as it is and rest outside of training."""
    branches = [linear for layer in network.model.layers for linear in (layer.self_attn.o_proj, layer.mlp.down_proj)]
    for module in (network.model.embed_tokens, *branches):
        module.register_forward_hook(lambda part, _, output: functional.dropout(output, DROPOUT, part.training))


def make_batch(documents: Sequence[Sequence[int]], frame: FrameIds) -> Batch:
    """Lay rows out for `hidden_states`."""
    rows = [torch.tensor([*document, *frame.after]) for document in documents]
    return Batch(
        ids=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD_ID),
        document_lengths=torch.tensor([len(document) for document in documents]),
        lengths=torch.tensor([len(row) for row in rows]),
    )


def hidden_states(network: Qwen3ForCausalLM, batch: Batch, frame: FrameIds) -> Tensor:
    """Last layer's output for the batch's rows, each read after the shared beginning of the prompt.

    The beginning runs once and its keys and values are lent to every row; gradients flow back through them.
    That is four times as fast as repeating it, and the same numbers.
    """
    opening = network.model(input_ids=torch.tensor([frame.before]), use_cache=True).past_key_values
    rows = len(batch.ids)
    lent = [(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1)) for layer in opening.layers]
    output = network.model(input_ids=batch.ids, past_key_values=DynamicCache(lent), use_cache=True)
    states: Tensor = output.last_hidden_state
    return states


def answer_logits(network: Qwen3ForCausalLM, states: Tensor, batch: Batch) -> Tensor:
    """Logits over the whole vocabulary where the answer's letter is due."""
    logits: Tensor = network.lm_head(states[torch.arange(len(states)), batch.lengths - 1])
    return logits.float()


def training_loss(network: Qwen3ForCausalLM, batch: Batch, answers: Tensor, frame: FrameIds) -> tuple[Tensor, Tensor]:
    """The loss to descend, and the label part of it alone.

    The label part is over the whole vocabulary, so that label mass is learnt as well.
    """
    states = hidden_states(network, batch, frame)
    targets = _smooth_targets(answers, frame.codes)
    label_loss = functional.cross_entropy(answer_logits(network, states, batch), targets)
    places = torch.arange(batch.ids.shape[1] - 1).expand(len(batch.ids), -1)
    chosen = (places + 1 < batch.document_lengths[:, None]) & (torch.rand(places.shape) < LANGUAGE_SHARE)
    if not chosen.any():
        return label_loss, label_loss
    next_logits = network.lm_head(states[:, :-1][chosen])
    language_loss = functional.cross_entropy(next_logits, batch.ids[:, 1:][chosen])
    return label_loss + LANGUAGE_WEIGHT * language_loss, label_loss


def _smooth_targets(answers: Tensor, codes: Sequence[int]) -> Tensor:
    """Nearly all on the right letter, a little on every label, nothing on other tokens."""
    targets = torch.zeros(len(answers), VOCABULARY_SIZE)
    targets[:, list(codes)] = LABEL_SMOOTHING / len(codes)
    targets[torch.arange(len(answers)), answers] += 1 - LABEL_SMOOTHING
    return targets


@torch.inference_mode()
def predict(network: Qwen3ForCausalLM, documents: Sequence[Sequence[int]], frame: FrameIds, rows: int = 32) -> Tensor:
    """Log-probabilities of the label codes (of the whole vocabulary) for each document, in the given order."""
    network.eval()  # type: ignore[no-untyped-call]
    order = sorted(range(len(documents)), key=lambda place: len(documents[place]))
    result = torch.empty(len(documents), len(frame.codes))
    for start in range(0, len(order), rows):
        places = order[start : start + rows]
        batch = make_batch([documents[place] for place in places], frame)
        logits = answer_logits(network, hidden_states(network, batch, frame), batch)
        result[places] = logits.log_softmax(-1)[:, list(frame.codes)]
    return result
