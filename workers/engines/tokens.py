"""Text to token ids: the frame around every document once, documents in batches.

A document is tokenised alone, with the model's special tokens taken as plain text: a document that contains
`<|im_end|>` cannot close the user's turn.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipelines.errors import JobError
from pipelines.tasks.classification import DOCUMENT_SLOT, PromptFrame
from workers.engines.catalogue import ResolvedModel
from workers.engines.word_tokens import TokenIds, WordTokens, encodes_words_apart


@dataclass(frozen=True)
class TokenFrame:
    """Token ids around a document, and those of the codes the engine may answer with."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    codes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prefix) + len(self.suffix)

    @property
    def fingerprint(self) -> str:
        """Hash of everything the engine reads besides the document, chat template and tokenizer included.

        Part of every calibration's key: probabilities of one wording say nothing of another's.
        """
        return hashlib.sha256(repr((self.prefix, self.suffix, self.codes)).encode()).hexdigest()[:16]


class TextTokenizer:
    """Text to token ids alone, wherever the model's files are not: made from the text of its tokenizer.json."""

    def __init__(self, tokenizer_json: str) -> None:
        content = _all_added_tokens_special(tokenizer_json)
        self._text = Tokenizer.from_str(json.dumps(content))
        self._text.encode_special_tokens = True
        self._text.no_truncation()
        self._text.no_padding()
        self._words = WordTokens(self._encode_whole) if encodes_words_apart(content) else None

    def encode_documents(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without any special token."""
        return [ids.tolist() for ids in self.token_arrays(texts)]

    def token_arrays(self, texts: list[str]) -> list[TokenIds]:
        """The same as the plan holds them, where a number is no object of its own."""
        return self._words.encode(texts) if self._words else self._encode_whole(texts)

    def _encode_whole(self, texts: list[str]) -> list[TokenIds]:
        encoded = self._text.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encoded]

    def encode_with_places(self, texts: list[str]) -> list[tuple[list[int], list[int]]]:
        """The same, and the character of the text that each token begins with."""
        encoded = self._text.encode_batch(texts, add_special_tokens=False)
        return [(encoding.ids, [first for first, _ in encoding.offsets]) for encoding in encoded]

    def is_single_token(self, code: str) -> bool:
        """Whether the engine can answer with this code in one token, and with no other in the same."""
        ids = self._text.encode(code, add_special_tokens=False).ids
        # A token for whatever is unknown stands for many codes.
        return len(ids) == 1 and self._text.decode(ids, skip_special_tokens=False).strip().casefold() == code.casefold()


class ModelTokenizer(TextTokenizer):
    """The tokenizer of one model, with its chat template."""

    def __init__(self, model: ResolvedModel) -> None:
        path = model.files / "tokenizer.json"
        if not path.is_file():
            raise JobError([f"model: '{model.name}' has no tokenizer.json in {model.files}; it is needed"])
        self._files, self._name = model.files, model.name
        try:
            self.json = path.read_text(encoding="utf-8")
            self._frame = Tokenizer.from_str(self.json)
            super().__init__(self.json)
        except Exception as error:  # the library raises plain `Exception` for a file that it cannot read
            raise JobError(
                [f"model: {path} is no tokenizer ({_first_line(error)}); download the model anew"]
            ) from error

    def encode_frame(self, frame: PromptFrame) -> TokenFrame:
        """Render the chat template around the frame, thinking off, ready for the answer's first token.

        Raises:
            JobError: there is no template, or one that does not put the message as it is before the answer.
        """
        before, after = self._render_chat(frame.before + DOCUMENT_SLOT + frame.after)
        encode = self._frame.encode
        return TokenFrame(
            tuple(encode(before, add_special_tokens=False).ids),
            tuple(encode(after, add_special_tokens=False).ids),
            tuple(self._text.encode(code, add_special_tokens=False).ids[0] for code in frame.codes),
        )

    def _render_chat(self, content: str) -> tuple[str, str]:
        """What stands before and after the document, the template's own words included."""
        tokenizer = self._chat
        if not tokenizer.chat_template:
            raise JobError([f"model: the files in {self._files} have no chat template; use an instruct model"])
        try:
            rendered = tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
            )
        except Exception as error:  # a template is a stranger's program: it may raise anything
            raise self._unusable(f"fails on a plain message ({_first_line(error)})") from error
        text = content.strip()  # templates trim, as Qwen's does; what else they change is not what was asked
        if not isinstance(rendered, str) or rendered.count(text) != 1 or rendered.count(DOCUMENT_SLOT) != 1:
            raise self._unusable(
                "does not give a plain message back once and unchanged (templates for typed content, a list of parts, "
                "give nothing back)"
            )
        before, after = rendered.split(DOCUMENT_SLOT)
        if mark := _open_thought(rendered.partition(text)[2]):
            raise self._unusable(f"opens a thought ('{mark}') before the answer, though told `enable_thinking: false`")
        return before, after

    @cached_property
    def _chat(self) -> Any:
        """The library's own tokenizer, which knows the template; read once, however many questions are rendered."""
        # Imported late: a second of import that only submitting a run needs.
        from transformers import PreTrainedTokenizerFast

        try:
            return PreTrainedTokenizerFast.from_pretrained(self._files)
        except Exception as error:  # the model's files are a stranger's: the library raises whatever they bring about
            raise self._unusable(f"cannot be loaded ({_first_line(error)})") from error

    def _unusable(self, what: str) -> JobError:
        return JobError(
            [
                f"model: the chat template of '{self._name}' {what}; the engine answers with one token right after it. "
                f"Use an instruct model without forced thinking, or mend the chat template in {self._files}"
            ]
        )


# <think>, <thinking>, <|think|>, [THINK], <seed:think>, <reasoning>, Kimi's triangles; with a slash they close.
_THOUGHT = re.compile(r"[<\[\u25c1](/?)\|?/?[\w:|]*(?:think|thought|reasoning)\w*\|?[>\]\u25b7]", re.IGNORECASE)
_CHANNEL = re.compile(r"<\|channel\|?>\s*(?:thought|analysis)", re.IGNORECASE)  # Gemma's and gpt-oss's
_CHANNEL_ENDS = ("<channel|>", "<|end|>", "<|message|>final")


def _open_thought(text: str) -> str | None:
    """The last mark of a thought, if it opens one and nothing closes it."""
    marks = list(_THOUGHT.finditer(text))
    if marks and "/" not in marks[-1][0]:
        return marks[-1][0]
    channels = list(_CHANNEL.finditer(text))
    if channels and not any(end in text[channels[-1].end() :] for end in _CHANNEL_ENDS):
        return channels[-1][0]
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _all_added_tokens_special(tokenizer_json: str) -> dict[str, Any]:
    """The tokenizer with all added tokens marked as special, so that `encode_special_tokens` makes them plain text.

    Qwen's own files hold `<think>` and `</think>` as added tokens that are not marked special.
    """
    content: dict[str, Any] = json.loads(tokenizer_json)
    for token in content.get("added_tokens", ()):
        token["special"] = True
    return content


def context_length(model: ResolvedModel) -> int:
    """Tokens the engine can read at once: `max_model_len`, or what the model's config says."""
    asked = model.engine.get("max_model_len")
    if asked is not None:
        return int(asked)
    try:
        config = json.loads((model.files / "config.json").read_text(encoding="utf-8"))
        inner = config.get("text_config", config)  # multimodal models keep the language model's config inside
        return int(inner["max_position_embeddings"])
    except (OSError, ValueError, KeyError) as error:
        raise JobError(
            [f"model: '{model.name}' does not say how long a text it reads; give engine: {{max_model_len: ...}}"]
        ) from error
