"""Text that others wrote (ids, reasons, labels, file names), made safe to show on a terminal.

What would move the cursor, recolour, retitle or reorder is written out as an escape; so is what cannot be encoded.
"""

from __future__ import annotations

import re

# C0 but tab and line end, DEL and C1; marks of direction; line ends that only some know; surrogates; tags, which show
# nothing at all.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)
_LINE = re.compile(f"{_UNSAFE.pattern}|[\t\n]")


def printable(text: str) -> str:
    r"""The text, with escapes such as ``\x1b`` for what a terminal would obey."""
    return _UNSAFE.sub(_escape, text)


def printable_line(text: str) -> str:
    """The same for what must stay on its line, such as a cell of a table."""
    return _LINE.sub(_escape, text)


def printable_json(document: str) -> str:
    """The same for JSON, which means the same afterwards; the document's own line ends stay."""
    return _UNSAFE.sub(_json_escape, document)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
