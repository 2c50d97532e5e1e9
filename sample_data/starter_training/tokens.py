"""The starter model's tokenizer, and the production prompt as token ids.

In: training texts, label names with descriptions. Out: `tokenizer.json` and its neighbours, and the ids that
stand before and after a document. Knows nothing of the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Encoding, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from pipelines.job.sections import ModelSource
from pipelines.tasks.classification import (
    DEFAULT_INSTRUCTIONS,
    DOCUMENT_SLOT,
    PromptFrame,
    assign_codes,
    local_prompt,
)
from workers.engines.catalogue import resolve_model
from workers.engines.tokens import ModelTokenizer

MODEL_NAME = "starter"
CONTEXT_TOKENS = 2048
VOCABULARY_SIZE = 4096
# All of them are marked special, unlike Qwen's <think>: `encode_special_tokens` turns only special ones into
# plain text, and a document that quotes <think> must not reach the network as the real token.
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
# The trainer numbers special tokens first, in this order.
PAD_ID, TURN_END_ID = 0, 2
# Words with their leading space, digits one by one, line ends apart: Qwen's cut of the text.
WORD_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
# The prompt is read with every document: repeating it makes its words whole tokens.
PROMPT_REPEATS = 100
TEMPLATE_PATH = Path(__file__).with_name("chat_template.jinja")


@dataclass(frozen=True, slots=True)
class FrameIds:
    """The rendered prompt as ids: ``before`` + document ids + ``after``; the answer is one of ``codes``.

    ``options`` are the places in ``before`` of what stands behind each code, in the order of the codes.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    codes: tuple[int, ...]
    options: tuple[range, ...] = ()

    @property
    def room(self) -> int:
        """Tokens left for a document, with one kept for the answer."""
        return CONTEXT_TOKENS - len(self.before) - len(self.after) - 1


def train_tokenizer(texts: Sequence[str], frame: PromptFrame) -> Tokenizer:
    """Fit a byte-level BPE: any text round-trips, and each letter A-Z is a token by construction."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompt_text = render_chat(frame.before + frame.after)
    tokenizer.train_from_iterator([*texts, *[prompt_text] * PROMPT_REPEATS], trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write what transformers and vLLM need to load the tokenizer with its chat template."""
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        # The generic class reads tokenizer.json as it stands; Qwen2's would put its own word pattern on top.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_TOKENS,
        "eos_token": SPECIAL_TOKENS[TURN_END_ID],
        "pad_token": SPECIAL_TOKENS[PAD_ID],
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE_PATH.read_text(encoding="utf-8"), encoding="utf-8")


def render_chat(content: str, template_path: Path = TEMPLATE_PATH) -> str:
    """One user turn and an open answer turn, thinking off, rendered the way transformers renders templates."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template_path.read_text(encoding="utf-8")).render(
        messages=[{"role": "user", "content": content}], add_generation_prompt=True, enable_thinking=False
    )


def production_frame(labels: Mapping[str, str | None], tokenizer: Tokenizer | None = None) -> PromptFrame:
    """The user message that a run with these labels and the default instructions sends.

    Without a tokenizer every letter is taken to be one token, which byte-level tokenizers promise.
    """

    def is_single_token(code: str) -> bool:
        return tokenizer is None or len(tokenizer.encode(code, add_special_tokens=False).ids) == 1

    return local_prompt(assign_codes(labels, is_single_token, MODEL_NAME), DEFAULT_INSTRUCTIONS)


def frame_ids(tokenizer: Tokenizer, frame: PromptFrame, template_path: Path = TEMPLATE_PATH) -> FrameIds:
    """Tokenise the rendered prompt on either side of the document."""
    rendered = render_chat(frame.before + DOCUMENT_SLOT + frame.after, template_path)
    before, after = rendered.split(DOCUMENT_SLOT)
    tokenizer.encode_special_tokens = False
    codes = tuple(tokenizer.encode(code).ids[0] for code in frame.codes)
    encoded = tokenizer.encode(before)
    options = tuple(_option_places(encoded, before, code) for code in frame.codes)
    return FrameIds(tuple(encoded.ids), tuple(tokenizer.encode(after).ids), codes, options)


def _option_places(encoded: Encoding, before: str, code: str) -> range:
    line = re.search(rf"^{re.escape(code)}\. (.*)$", before, re.MULTILINE)
    assert line, f"the prompt has no option '{code}'"
    inside = [
        place for place, (start, end) in enumerate(encoded.offsets) if start >= line.start(1) - 1 and end <= line.end()
    ]
    return range(inside[0], inside[-1] + 1)


def document_ids(tokenizer: Tokenizer, texts: Iterable[str], limit: int) -> list[list[int]]:
    """Tokenise documents alone: special tokens in them are plain text, and long ones keep their head."""
    tokenizer.encode_special_tokens = True
    return [encoding.ids[:limit] for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def frame_fingerprint(folder: Path, frame: PromptFrame) -> str:
    """What a calibration of the model in ``folder`` is for: the prompt as the product renders and cuts it."""
    model = resolve_model(ModelSource(source=str(folder.resolve())))
    return ModelTokenizer(model).encode_frame(frame).fingerprint
