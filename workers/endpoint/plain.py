"""A document as a server may be shown it: the marks of chat templates in it are text, and stay text.

An engine of our own is given token ids, in which a document's `<|im_end|>` is plain text; a server makes tokens of the
whole message, and many would let such a document close the user's turn and speak for the model.
"""

from __future__ import annotations

import re

from pipelines.tasks.classification import DOCUMENT_MARK
from pipelines.tasks.marks import defused

# <|im_end|>, of DeepSeek with full-width bars; <start_of_turn>; <s>, </s>; [INST]; <think>: of Qwen and OpenAI, Gemma,
# Llama, Mistral.
_MARK = re.compile(
    r"([<\[])(?=[|\uff5c][^|\uff5c<>\n]{1,60}[|\uff5c]>|/?(?:start_of_turn|end_of_turn|turn\|?|bos|eos|s)>"
    r"|/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|/?think>)",
    re.IGNORECASE,
)


def plain(text: str, mark: str | None = DOCUMENT_MARK) -> str:
    """With a space within each mark; a text that holds none is as it was.

    Args:
        text: of a document, or with what a model said of one.
        mark: of the prompt, that is to stand around the text; None: it stands there already.
    """
    if "<" not in text and "[" not in text:
        return text
    return _MARK.sub(r"\1 ", text if mark is None else defused(text, mark))
