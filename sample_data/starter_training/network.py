"""The network: a small Qwen3, and its label logits with the prompt's beginning computed once per batch.

In: rows of token ids. Out: logits of the labels and the training losses. Knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3ForCausalLM
from transformers.cache_utils import DynamicCache

from sample_data.small_model import small_qwen
from sample_data.starter_training.tokens import PAD_ID, VOCABULARY_SIZE, FrameIds

# Next-token loss on part of the document's tokens: few labels alone teach word meanings slowly.
LANGUAGE_WEIGHT = 0.2
LANGUAGE_SHARE = 0.25
# In the second part of training the labels come in another order in every batch, so the network has to look up which
# letter its label has today. Left alone it had not begun to after 350 steps; told where to look it takes 200. What
# should be known after these layers, those of the first part: what the document is about, and in the words of each
# option, its letter …
FIRST_LAYERS, LAYERS = 2, 3
TOPIC_WEIGHT, LETTER_WEIGHT = 1.0, 0.5
# … and in the last layer so many heads should look from the answer's place at the words of the right option.
POINTING_HEADS = 2
POINTING_WEIGHT = 0.5
_LEAST_SHARE = 1e-4
# How loud a new layer speaks at first.
_NEW_LAYER_SCALE = 0.1
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


def build_network(layers: int = FIRST_LAYERS) -> Qwen3ForCausalLM:
    """Three million parameters in three layers: wide and shallow, because an engine step on CPU pays per layer."""
    config = small_qwen(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        # One over the root of the width: the usual 0.02 is made for wide networks, and this one barely starts with it.
        initializer_range=0.06,
        rope_theta=10_000.0,
    )
    network = Qwen3ForCausalLM(config)
    network.set_attn_implementation("eager")  # the only one that gives the shares of attention; not saved
    _add_dropout(network)
    return network


def deepen(network: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    """The same network with a layer more, which hardly speaks yet."""
    deeper = build_network(LAYERS)
    deeper.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad():
        for layer in deeper.model.layers[FIRST_LAYERS:]:
            layer.self_attn.o_proj.weight.mul_(_NEW_LAYER_SCALE)
            layer.mlp.down_proj.weight.mul_(_NEW_LAYER_SCALE)
    return deeper


def _add_dropout(network: Qwen3ForCausalLM) -> None:
    """Qwen3 has none of its own; hooks leave the saved architecture as it is and rest outside of training."""
    branches = [linear for layer in network.model.layers for linear in (layer.self_attn.o_proj, layer.mlp.down_proj)]
    for module in (network.model.embed_tokens, *branches):
        module.register_forward_hook(lambda part, _, output: functional.dropout(output, DROPOUT, part.training))


class TopicHead(nn.Module):
    """Reads half-way up what a document is about, whatever letter that has; thrown away after training."""

    def __init__(self, network: Qwen3ForCausalLM, codes: Sequence[int]) -> None:
        """Begin with what the network's last layer has meant by the letters ``codes``, in the given order."""
        super().__init__()
        self.norm = nn.RMSNorm(network.config.hidden_size)
        self.labels = nn.Linear(network.config.hidden_size, len(codes))
        with torch.no_grad():
            self.norm.weight.copy_(network.model.norm.weight)
            self.labels.weight.copy_(network.lm_head.weight[list(codes)])
            self.labels.bias.zero_()

    def forward(self, states: Tensor) -> Tensor:
        """Logits of the labels, in the given order."""
        logits: Tensor = self.labels(self.norm(states.float()))
        return logits


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of the loss: the answer's letter, the next word of documents, and the three that help to look it up."""

    label: Tensor
    language: Tensor
    topic: Tensor
    letter: Tensor
    pointing: Tensor

    def total(self, is_looking_up: bool) -> Tensor:
        """What is descended; in the first part of training there is nothing to look up."""
        answering = self.label + LANGUAGE_WEIGHT * self.language
        if not is_looking_up:
            return answering
        return answering + TOPIC_WEIGHT * self.topic + LETTER_WEIGHT * self.letter + POINTING_WEIGHT * self.pointing


def make_batch(documents: Sequence[Sequence[int]], frame: FrameIds) -> Batch:
    """Lay rows out for `hidden_states`."""
    rows = [torch.tensor([*document, *frame.after]) for document in documents]
    return Batch(
        ids=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD_ID),
        document_lengths=torch.tensor([len(document) for document in documents]),
        lengths=torch.tensor([len(row) for row in rows]),
    )


def hidden_states(network: Qwen3ForCausalLM, batch: Batch, frame: FrameIds) -> Tensor:
    """Last layer's output for the batch's rows, each read after the shared beginning of the prompt."""
    states: Tensor = _read(network, batch, _read_opening(network, frame)).last_hidden_state
    return states


def _read_opening(network: Qwen3ForCausalLM, frame: FrameIds) -> Any:
    opening = network.model(input_ids=torch.tensor([frame.before]), use_cache=True, output_hidden_states=True)
    return opening


def _read(network: Qwen3ForCausalLM, batch: Batch, opening: Any, *, is_telling: bool = False) -> Any:
    """The prompt's beginning ran once and its keys and values are lent to every row; gradients flow back through them.

    That is four times as fast as repeating it, and the same numbers. ``is_telling``: with what happened on the way.
    """
    rows = len(batch.ids)
    layers = opening.past_key_values.layers
    lent = [(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1)) for layer in layers]
    output = network.model(
        input_ids=batch.ids,
        past_key_values=DynamicCache(lent),
        use_cache=True,
        output_hidden_states=is_telling,
        output_attentions=is_telling,
    )
    return output


def answer_logits(network: Qwen3ForCausalLM, states: Tensor, batch: Batch) -> Tensor:
    """Logits over the whole vocabulary where the answer's letter is due."""
    logits: Tensor = network.lm_head(states[torch.arange(len(states)), batch.lengths - 1])
    return logits.float()


def training_losses(
    network: Qwen3ForCausalLM,
    topic_head: TopicHead,
    batch: Batch,
    labels: Tensor,
    order: Sequence[int],
    frame: FrameIds,
) -> Losses:
    """All parts of the loss.

    ``labels`` are the places of the rows' labels in the given order of the labels; ``order`` says which of these
    places stands where in ``frame``. The label part is over the whole vocabulary, so that label mass is learnt too.
    """
    opening = _read_opening(network, frame)
    output = _read(network, batch, opening, is_telling=True)
    states: Tensor = output.last_hidden_state
    rows, last = torch.arange(len(batch.ids)), batch.lengths - 1
    options = torch.tensor([order.index(label) for label in labels.tolist()])
    codes = torch.tensor(frame.codes)
    targets = _smooth_targets(codes[options], frame.codes)
    return Losses(
        functional.cross_entropy(answer_logits(network, states, batch), targets),
        _language_loss(network, states, batch),
        functional.cross_entropy(topic_head(output.hidden_states[FIRST_LAYERS][rows, last]), labels),
        _letter_loss(network, opening.hidden_states[FIRST_LAYERS][0], frame),
        _pointing_loss(output.attentions[-1][rows, :POINTING_HEADS, last], options, frame),
    )


def _language_loss(network: Qwen3ForCausalLM, states: Tensor, batch: Batch) -> Tensor:
    places = torch.arange(batch.ids.shape[1] - 1).expand(len(batch.ids), -1)
    chosen = (places + 1 < batch.document_lengths[:, None]) & (torch.rand(places.shape) < LANGUAGE_SHARE)
    if not chosen.any():
        return states.new_zeros(())
    return functional.cross_entropy(network.lm_head(states[:, :-1][chosen]).float(), batch.ids[:, 1:][chosen])


def _letter_loss(network: Qwen3ForCausalLM, states: Tensor, frame: FrameIds) -> Tensor:
    """Each word of an option says the option's letter; ``states`` are those of the prompt's beginning."""
    places = [place for option in frame.options for place in option]
    letters = [code for code, option in zip(frame.codes, frame.options, strict=True) for _ in option]
    logits = network.lm_head(network.model.norm(states[places]))
    return functional.cross_entropy(logits.float(), torch.tensor(letters))


def _pointing_loss(attention: Tensor, options: Tensor, frame: FrameIds) -> Tensor:
    """``attention`` [rows, heads, tokens]: how far the heads look at the right option, on average."""
    shares = torch.stack([attention[:, :, list(option)].sum(-1).mean(1) for option in frame.options], 1).float()
    return -(shares[torch.arange(len(shares)), options] + _LEAST_SHARE).log().mean()


def _smooth_targets(answers: Tensor, codes: Sequence[int]) -> Tensor:
    """Nearly all on the right letter, a little on every label, nothing on other tokens."""
    targets = torch.zeros(len(answers), VOCABULARY_SIZE)
    targets[:, list(codes)] = LABEL_SMOOTHING / len(codes)
    targets[torch.arange(len(answers)), answers] += 1 - LABEL_SMOOTHING
    return targets


@torch.inference_mode()
def predict(network: Qwen3ForCausalLM, documents: Sequence[Sequence[int]], frame: FrameIds, rows: int = 32) -> Tensor:
    """Log-probabilities of the label codes (of the whole vocabulary) for each document, in the given order."""
    network.eval()
    order = sorted(range(len(documents)), key=lambda place: len(documents[place]))
    result = torch.empty(len(documents), len(frame.codes))
    for start in range(0, len(order), rows):
        places = order[start : start + rows]
        batch = make_batch([documents[place] for place in places], frame)
        logits = answer_logits(network, hidden_states(network, batch, frame), batch)
        result[places] = logits.log_softmax(-1)[:, list(frame.codes)]
    return result
