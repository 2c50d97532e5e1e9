"""The marks that close a document in a prompt, written inside that document: still to be read there, closing nothing.

Only texts that hold one are changed, and only in what a model reads: the plan keeps every text as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache


def defused(text: str, *marks: str) -> str:
    r"""The text with ``<\/mark>`` for ``</mark>``, as JSON and scripts write it; whatever its case and spacing."""
    return _defuse(marks)(text) if "<" in text else text


@lru_cache
def _defuse(marks: tuple[str, ...]) -> Callable[[str], str]:
    closing = re.compile(rf"<(\s*)/(?=\s*(?:{'|'.join(map(re.escape, marks))})(?![\w-]))", re.IGNORECASE)
    return lambda text: closing.sub(r"<\1\\/", text)
