"""The network: a small Qwen3, and its losses on rows packed with examples, each of one code and several tails.

In: token ids of examples. Out: losses. Knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from sample_data.code_training.examples import LINE_KINDS, NO_FAULT, WITHIN_FAULT, LineEnd, Tokens
from sample_data.code_training.tokens import VOCABULARY_SIZE
from sample_data.small_model import small_qwen
from sample_data.starter_training.tokens import PAD_ID

WIDTH = 192
# Every batch has this shape, so that the network is compiled once.
ROWS, ROW_TOKENS = 8, 512
# Next-token loss on the code: answers alone teach little of what the words are.
CODE_WEIGHT = 0.15
CODE_SHARE = 0.3
# Most words of an answer follow from a few: the mean over all makes them light.
ANSWER_WEIGHT = 3.0
# After which layers the helping loss reads the number of a line, its kind, and what was found so far or in a claim:
# each builds on the one before, and the verdict on the last.
NUMBER_LAYER, KIND_LAYER, FOUND_LAYER = 2, 3, 4
# A letter is never worth certainty.
VERDICT_SMOOTHING = 0.02
_IGNORED = -100

Forward = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows of examples ``[prompt][code][tail][tail]…``.

    ``mask`` hides examples from one another, the tails of one example from one another, and the padding.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    answers: Tensor  # the next token where it is part of an answer, else ignored
    verdicts: Tensor  # the same where the next token is a verdict
    code: Tensor  # the next token within the code or a claim
    claim_kinds: Tensor  # at the number in a claim: the kind of the line of that number
    line_kinds: Tensor  # at the end of each line of code
    line_numbers: Tensor  # the same: the token of the line's number, unless the line was removed
    seen_kinds: Tensor  # at the end of each line, and where a tail begins: the kind of the first fault up to there
    seen_numbers: Tensor  # the same: the token of its number, if there is a fault


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of the loss."""

    answer: Tensor
    verdict: Tensor
    line: Tensor
    code: Tensor

    @property
    def total(self) -> Tensor:
        """What is descended."""
        return ANSWER_WEIGHT * self.answer + self.verdict + self.line + CODE_WEIGHT * self.code


def build_network() -> Qwen3ForCausalLM:
    """Two million parameters beside the embeddings: a fault is found, placed, named and looked up in five layers."""
    config = small_qwen(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=WIDTH,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=6,
        head_dim=32,
        # One over the root of the width, as for the starter model.
        initializer_range=0.07,
        rope_theta=100_000.0,
    )
    network = Qwen3ForCausalLM(config)
    _lean_to_copying(network)
    return network


def _lean_to_copying(network: Qwen3ForCausalLM) -> None:
    """Start with heads that look for tokens like their own and hand on what they see.

    Trockman and Kolter, "Mimetic initialization of self-attention layers" (ICML 2023): worth it where data is short.
    Reviews copy paths and line numbers.
    """
    with torch.no_grad():
        for layer in network.model.layers[1:]:
            attention = layer.self_attn
            attention.q_proj.weight.copy_(0.7 * attention.k_proj.weight + 0.7 * attention.q_proj.weight)
            attention.o_proj.weight.copy_(0.7 * attention.v_proj.weight.T + 0.7 * attention.o_proj.weight)


class LineHead(nn.Module):
    """Reads, half-way up, what is known of the code.

    At the end of a line its number, its kind and the first fault up to there; at the number in a claim that line's
    kind. Thrown away after training: it teaches early where faults are, to carry them along, and to look up a line.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number_norm, self.line_norm, self.seen_norm, self.claim_norm = (nn.RMSNorm(WIDTH) for _ in range(4))
        self.line_kinds, self.seen_kinds, self.claim_kinds = (nn.Linear(WIDTH, LINE_KINDS) for _ in range(3))

    def loss(self, network: Qwen3ForCausalLM, states: Sequence[Tensor], batch: Batch) -> Tensor:
        """Of all together; ``states`` are those after each layer, from the embeddings on."""
        ends, seen, claims = (part != _IGNORED for part in (batch.line_kinds, batch.seen_kinds, batch.claim_kinds))
        number = self.number_norm(states[NUMBER_LAYER][ends])
        line = self.line_norm(states[KIND_LAYER][ends])
        first = self.seen_norm(states[FOUND_LAYER][seen])
        claimed = self.claim_norm(states[FOUND_LAYER][claims])
        return (
            2 * _class_loss(self.line_kinds(line), batch.line_kinds[ends])
            + 0.3 * _class_loss(network.lm_head(number), batch.line_numbers[ends])
            + 0.5 * _class_loss(self.seen_kinds(first), batch.seen_kinds[seen])
            + 0.5 * _class_loss(network.lm_head(first), batch.seen_numbers[seen])
            + 0.5 * _class_loss(self.claim_kinds(claimed), batch.claim_kinds[claims])
        )


def _class_loss(logits: Tensor, targets: Tensor) -> Tensor:
    wanted = targets != _IGNORED
    if not wanted.any():
        return logits.new_zeros((), dtype=torch.float32)  # a batch without any
    return functional.cross_entropy(logits.float()[wanted], targets[wanted])


def make_batch(prompt: Sequence[int], rows: Sequence[Sequence[Tokens]]) -> Batch:
    """Lay examples out, row by row; see `pack` for what fits into a row."""
    shape = len(rows), ROW_TOKENS
    ids = torch.full(shape, PAD_ID)
    positions = torch.zeros(shape, dtype=torch.long)
    targets = {name: torch.full(shape, _IGNORED) for name in _TARGETS}
    owners = torch.full(shape, -1)  # which example of its row a token belongs to
    segments = torch.zeros(shape, dtype=torch.long)  # 0: prompt and code; 1 and on: tails
    for row, examples in enumerate(rows):
        start = 0
        for owner, example in enumerate(examples):
            end = start + len(prompt) + example.length
            part = slice(start, end)
            owners[row, part] = owner
            views = {name: target[row, part] for name, target in targets.items()}
            _lay_out(prompt, example, ids[row, part], positions[row, part], segments[row, part], views)
            start = end
    return Batch(ids, positions, _mask(owners, segments), **targets)


_TARGETS = (
    "answers", "verdicts", "code", "claim_kinds", "line_kinds", "line_numbers", "seen_kinds", "seen_numbers"
)  # fmt: skip


def pack(prompt_tokens: int, examples: Sequence[Tokens]) -> list[list[Tokens]]:
    """Fill rows with whole examples, longest first; one that is longer than a row is left out."""
    rows: list[tuple[int, list[Tokens]]] = []
    for example in sorted(examples, key=lambda one: -one.length):
        length = prompt_tokens + example.length
        place = next((place for place, (room, _) in enumerate(rows) if room >= length), None)
        if place is not None:
            room, own = rows[place]
            rows[place] = (room - length, [*own, example])
        elif length <= ROW_TOKENS:
            rows.append((ROW_TOKENS - length, [example]))
    return [own for _, own in rows]


def _lay_out(
    prompt: Sequence[int],
    example: Tokens,
    ids: Tensor,
    positions: Tensor,
    segments: Tensor,
    targets: dict[str, Tensor],
) -> None:
    """Fill the tensors' part that belongs to one example."""
    first, shared = len(prompt), len(prompt) + len(example.code)
    ids[:shared] = torch.tensor([*prompt, *example.code])
    positions[:shared] = torch.arange(shared)
    targets["code"][first : shared - 1] = ids[first + 1 : shared]
    seen: LineEnd | None = None
    for line in example.line_ends:
        targets["line_kinds"][first + line.place] = line.kind
        if line.number_id is not None:
            targets["line_numbers"][first + line.place] = line.number_id
        if seen is None and line.kind > WITHIN_FAULT:
            seen = line
        _mark_seen(targets, first + line.place, seen)
    start = shared
    for segment, tail in enumerate(example.tails, start=1):
        end = start + len(tail.ids)
        ids[start:end] = torch.tensor(tail.ids)
        positions[start:end] = torch.arange(shared, shared + len(tail.ids))
        segments[start:end] = segment
        _mark_seen(targets, start, seen)
        wanted = targets["answers" if tail.is_answer else "verdicts"]
        wanted[start + tail.answer_from - 1 : end - 1] = ids[start + tail.answer_from : end]
        if tail.number_place is not None:
            number = start + tail.number_place
            targets["claim_kinds"][number] = tail.line_kind
            targets["code"][start:number] = ids[start + 1 : number + 1]
        start = end


def _mark_seen(targets: dict[str, Tensor], place: int, fault: LineEnd | None) -> None:
    targets["seen_kinds"][place] = fault.kind if fault is not None else NO_FAULT
    if fault is not None and fault.number_id is not None:
        targets["seen_numbers"][place] = fault.number_id


def _mask(owners: Tensor, segments: Tensor) -> Tensor:
    same = owners[:, :, None] == owners[:, None, :]
    visible = (segments[:, :, None] == segments[:, None, :]) | (segments[:, None, :] == 0)
    causal = torch.ones(owners.shape[1], owners.shape[1], dtype=torch.bool).tril()
    return (same & visible & causal)[:, None]


def compiled(network: Qwen3ForCausalLM) -> Forward:
    """The body of the network with its steps fused: twice as fast on a CPU. Needs a C++ compiler."""
    forward: Forward = torch.compile(network.model, dynamic=False)
    return forward


def training_losses(
    network: Qwen3ForCausalLM, forward: Forward, line_head: LineHead, batch: Batch, codes: Sequence[int]
) -> Losses:
    """All parts of the loss on one batch; ``forward`` is the network's body, ``codes`` are the two verdicts."""
    output = forward(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        output_hidden_states=True,
        use_cache=False,
    )
    states: Tensor = output.last_hidden_state
    code = torch.where(torch.rand(batch.code.shape) < CODE_SHARE, batch.code, _IGNORED)
    return Losses(
        _token_loss(network, states, batch.answers),
        _verdict_loss(network, states, batch.verdicts, codes),
        line_head.loss(network, output.hidden_states, batch),
        _token_loss(network, states, code),
    )


@torch.inference_mode()
def verdict_log_probs(network: Qwen3ForCausalLM, batch: Batch, codes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Log-probabilities of both verdicts (of the whole vocabulary) on each claim of a batch, and the right ones."""
    output = network.model(input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions)
    chosen = batch.verdicts != _IGNORED
    log_probs = network.lm_head(output.last_hidden_state[chosen]).float().log_softmax(-1)
    return log_probs[:, list(codes)], (batch.verdicts[chosen][:, None] == torch.tensor(codes)).long().argmax(1)


def _token_loss(network: Qwen3ForCausalLM, states: Tensor, targets: Tensor) -> Tensor:
    chosen = targets != _IGNORED
    return _class_loss(network.lm_head(states[chosen]), targets[chosen])


def _verdict_loss(network: Qwen3ForCausalLM, states: Tensor, targets: Tensor, codes: Sequence[int]) -> Tensor:
    """Over the whole vocabulary, so that label mass is learnt as well; smoothed between the two letters only."""
    chosen = targets != _IGNORED
    if not chosen.any():
        return states.new_zeros((), dtype=torch.float32)
    smooth = functional.one_hot(targets[chosen], VOCABULARY_SIZE) * (1 - VERDICT_SMOOTHING)
    smooth[:, list(codes)] += VERDICT_SMOOTHING / len(codes)
    return functional.cross_entropy(network.lm_head(states[chosen]).float(), smooth)
