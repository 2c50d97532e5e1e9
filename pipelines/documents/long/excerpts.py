"""What Claude is shown of a document that is longer than it takes: the surest windows, in the document's order.

In: a document's windows, and their order by how sure the engine was of each. Out: which of them fit, their text, and
the words for the row. The same whenever it is asked for; the text itself is needed for the text alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_GAP = "\n[...]\n"


@dataclass(frozen=True)
class Excerpt:
    """Places of the shown windows, rising. ``most_bytes``: where not even one fits, so much of its beginning."""

    windows: tuple[int, ...]
    most_bytes: int | None = None

    def in_words(self, names: Sequence[str]) -> str:
        """For the row; ``names`` are those of the document's windows."""
        shown = [names[place] for place in self.windows]
        what = ", ".join(shown[:-1]) + (" and " if shown[1:] else "") + shown[-1]
        part = "" if self.most_bytes is None else f"the first {self.most_bytes:,} bytes of "
        return f"Claude read {part}{what}, as it takes no more"


def excerpt_of(window_bytes: Sequence[int], order: Sequence[int], room_bytes: int) -> Excerpt:
    """The first windows of an order that fit together.

    Args:
        window_bytes: of each window, in the document's order.
        order: places of windows, the most wanted first.
        room_bytes: that a text may have.
    """
    chosen: list[int] = []
    size = len(_GAP)
    for place in order:
        size += window_bytes[place] + len(_GAP)
        if size > room_bytes:
            break
        chosen.append(place)
    return Excerpt(tuple(sorted(chosen))) if chosen else Excerpt((order[0],), max(room_bytes - 2 * len(_GAP), 0))


def excerpt_text(text: str, windows: Sequence[Mapping[str, int]], excerpt: Excerpt) -> str:
    """The text of an excerpt: windows that touch or overlap are one passage, and what is left out is marked."""
    passages: list[list[int]] = []
    for place in excerpt.windows:
        first = windows[place]["first_char"]
        end = first + windows[place]["chars"]
        if passages and first <= passages[-1][1]:
            passages[-1][1] = max(end, passages[-1][1])
        else:
            passages.append([first, end])
    shown = [text[first:end] for first, end in passages]
    if excerpt.most_bytes is not None:
        shown = [shown[0].encode()[: excerpt.most_bytes].decode(errors="ignore")]
    is_to_end = passages[-1][1] >= len(text) and excerpt.most_bytes is None
    return ("" if passages[0][0] == 0 else _GAP) + _GAP.join(shown) + ("" if is_to_end else _GAP)
