"""Text to token ids: the frame around every document once, documents in batches.

A document is tokenised alone, with the model's special tokens taken as plain text: a document that contains
`<|im_end|>` cannot close the user's turn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tokenizers import Tokenizer

from pipelines.errors import JobError
from pipelines.tasks.classification import DOCUMENT_SLOT, PromptFrame
from workers.catalogue import ResolvedModel


@dataclass(frozen=True)
class TokenFrame:
    """Token ids around a document, and those of the codes the engine may answer with."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    codes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prefix) + len(self.suffix)


class TextTokenizer:
    """Text to token ids alone, wherever the model's files are not: made from the text of its tokenizer.json."""

    def __init__(self, tokenizer_json: str) -> None:
        self._text = Tokenizer.from_str(_all_added_tokens_special(tokenizer_json))
        self._text.encode_special_tokens = True
        self._text.no_truncation()
        self._text.no_padding()

    def encode_documents(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without any special token."""
        return [encoding.ids for encoding in self._text.encode_batch_fast(texts, add_special_tokens=False)]

    def is_single_token(self, code: str) -> bool:
        """Whether the engine can answer with this code in one token."""
        return len(self._text.encode(code, add_special_tokens=False).ids) == 1


class ModelTokenizer(TextTokenizer):
    """The tokenizer of one model, with its chat template."""

    def __init__(self, model: ResolvedModel) -> None:
        path = model.files / "tokenizer.json"
        if not path.is_file():
            raise JobError([f"model: '{model.name}' has no tokenizer.json in {model.files}; it is needed"])
        self._files = model.files
        self._frame = Tokenizer.from_file(str(path))
        self.json = path.read_text(encoding="utf-8")
        super().__init__(self.json)

    def encode_frame(self, frame: PromptFrame) -> TokenFrame:
        """Render the chat template around the frame, thinking off, ready for the answer's first token."""
        rendered = self._render_chat(frame.before + DOCUMENT_SLOT + frame.after)
        prefix, suffix = rendered.split(DOCUMENT_SLOT)
        encode = self._frame.encode
        return TokenFrame(
            tuple(encode(prefix, add_special_tokens=False).ids),
            tuple(encode(suffix, add_special_tokens=False).ids),
            tuple(self._text.encode(code, add_special_tokens=False).ids[0] for code in frame.codes),
        )

    def _render_chat(self, content: str) -> str:
        # Imported late: a second of import that only submitting a run needs.
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast.from_pretrained(self._files)
        if not tokenizer.chat_template:
            raise JobError([f"model: the files in {self._files} have no chat template; use an instruct model"])
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return str(rendered)


def _all_added_tokens_special(tokenizer_json: str) -> str:
    """Mark every added token as special, so that `encode_special_tokens` turns all of them into plain text.

    Qwen's own files hold `<think>` and `</think>` as added tokens that are not marked special.
    """
    content = json.loads(tokenizer_json)
    for token in content.get("added_tokens", ()):
        token["special"] = True
    return json.dumps(content)


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
