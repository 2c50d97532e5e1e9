"""What the engine reads of a document that is longer than it reads at once: windows, head and tail, or nothing.

In: the document's text. Out: token ids, the windows over them, and what its row says. Decided once, in the plan. Knows
nothing of models: how a text becomes tokens is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.documents.long.pieces import PIECE_CHARS, LongTokens, TokenizeWithPlaces, tokenize_long
from pipelines.documents.long.windows import Window, window, window_count, windows_of

# Stands between the head and the tail in what the engine reads.
LEFT_OUT_MARK = "\n\n[... a part of the document is left out here ...]\n\n"


class Read(NamedTuple):
    """What the engine reads of a document.

    ``tokens`` are None where it reads nothing, and ``failure`` says why. ``windows`` is None where all is read at once;
    ``work_tokens``: how many tokens are read in all, those that windows share counted for each.
    """

    tokens: Sequence[int] | NDArray[np.int32] | None
    work_tokens: int
    windows: list[Window] | None = None
    note: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class LongReading:
    """How long documents of a job are read.

    ``room_tokens``: of a document that fit into one reading; ``merge`` only goes into what is told; ``as_read``: what
    of a text stands in the prompt, to whose characters windows refer.
    """

    how: Literal["windows", "head_tail", "refuse"]
    room_tokens: int
    overlap_tokens: int
    max_windows: int
    merge: str
    tokenize: TokenizeWithPlaces
    as_read: Callable[[str], str]

    @staticmethod
    def is_long(text: str) -> bool:
        """Whether a text is to be tokenised by `read`, in pieces, and not together with others."""
        return len(text) > PIECE_CHARS

    def read(self, text: str, where: str) -> Read:
        """Of a text of any length, as the engine is to read it.

        Args:
            text: of the document.
            where: it stands, for the failure.
        """
        text = self.as_read(text)
        tokens = tokenize_long(text, self.tokenize)
        if len(tokens) <= self.room_tokens:
            return Read(tokens.ids, len(tokens))
        if self.how == "refuse":
            return self._refused(len(tokens), where)
        return self._head_and_tail(text, tokens) if self.how == "head_tail" else self._windows(text, tokens, where)

    def _refused(self, count: int, where: str) -> Read:
        failure = (
            f"{where}: is {count:,} tokens long, and the model reads {self.room_tokens:,} of a document at once "
            "(long_documents.how is refuse); choose windows or head_tail, split it, or raise engine.max_model_len"
        )
        return Read(None, 0, failure=failure)

    def _windows(self, text: str, tokens: LongTokens, where: str) -> Read:
        count = window_count(len(tokens), self.room_tokens, self.overlap_tokens)
        if count > self.max_windows:
            failure = (
                f"{where}: is {len(tokens):,} tokens long, which are {count:,} windows of {self.room_tokens:,}, and "
                f"long_documents.max_windows is {self.max_windows:,}; raise it or engine.max_model_len, or split the "
                "document"
            )
            return Read(None, 0, failure=failure)
        windows = windows_of(text, tokens, self.room_tokens, self.overlap_tokens)
        note = (
            f"read in {count:,} windows of up to {self.room_tokens:,} tokens ({len(tokens):,} tokens, "
            f"{self.overlap_tokens:,} of each shared with the one before; answer: {self.merge})"
        )
        return Read(tokens.ids, sum(each.tokens for each in windows), windows, note)

    def _head_and_tail(self, text: str, tokens: LongTokens) -> Read:
        ((mark, _),) = self.tokenize([LEFT_OUT_MARK])
        kept = self.room_tokens - len(mark)
        head, count = -(-kept // 2), len(tokens)
        tail = kept - head
        shown = np.concatenate([tokens.ids[:head], np.array(mark, np.int32), tokens.ids[count - tail :]])
        note = (
            f"head and tail: the engine read the first {head:,} and the last {tail:,} of {count:,} tokens, and "
            f"{count - kept:,} between them are left out (limit: the model's context)"
        )
        return Read(shown, len(shown), [window(text, tokens, 0, head), window(text, tokens, count - tail, count)], note)
