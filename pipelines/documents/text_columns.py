"""The text of a document out of several columns: one below the other, or put into a template.

In: what the job says of `columns.text`. Out: which columns it needs, and the text of their values. Knows nothing of
rows and files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PART = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Combined:
    """Several columns as one text.

    ``pieces`` is what stands around the columns of a template, one more than those; None: the columns stand one below
    the other with an empty line between them, and blank ones are left out.
    """

    names: tuple[str, ...]
    pieces: tuple[str, ...] | None = None

    def text_of(self, values: Sequence[str]) -> str:
        """The text; ``values`` are those of ``names``, empty where there is none."""
        if self.pieces is None:
            return _BETWEEN.join(value for value in values if value.strip())
        return self.pieces[0] + "".join(map("".join, zip(values, self.pieces[1:], strict=True)))


def text_columns(given: str | Sequence[str]) -> str | Combined:
    """The one column, or several: of a list, or of a template such as ``"{subject}: {body}"``.

    A text without a ``{name}`` is the name of a column; ``{{`` and ``}}`` in a template stand for themselves.

    Raises:
        ValueError: it is no template.
    """
    if not isinstance(given, str):
        return Combined(tuple(given))
    if not any(found[1] for found in _PART.finditer(given)) and "{{" not in given:
        return given
    names, pieces, start, piece = list[str](), list[str](), 0, ""
    for found in _PART.finditer(given):
        piece += given[start : found.start()]
        start = found.end()
        if found[1]:
            names.append(found[1])
            pieces.append(piece)
            piece = ""
        elif len(found[0]) == 2:
            piece += found[0][0]
        else:
            raise ValueError(
                f"a single {found[0]!r} at character {found.start() + 1} of the template; double it, or put a column's "
                "name between braces"
            )
    if not names:
        raise ValueError("the template names no column; put a column's name between braces, such as {body}")
    return Combined(tuple(names), (*pieces, piece + given[start:]))


def names_of(text: str | Combined) -> tuple[str, ...]:
    """The columns that a text needs, each once."""
    return (text,) if isinstance(text, str) else tuple(dict.fromkeys(text.names))
