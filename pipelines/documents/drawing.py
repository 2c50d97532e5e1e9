"""A sample of documents, each as likely as any other, drawn while all of them are read once and counted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipelines.documents.code.records import LeftOut
from pipelines.documents.records import Document


@dataclass(frozen=True)
class Drawn:
    """What was drawn, in the order of the input, and what was seen on the way; counts are of all documents."""

    documents: list[Document]
    total: int
    failed: int
    withheld: int

    @property
    def answerable(self) -> int:
        """Documents that an engine can be asked about."""
        return self.total - self.failed

    @property
    def may_be_sent(self) -> int:
        """Documents that Claude may be asked about."""
        return self.answerable - self.withheld


def draw(
    documents: Iterable[Document | LeftOut], size: int, withheld: Callable[[Document], str | None], seed: int
) -> Drawn:
    """Draw ``size`` of the documents that could be read, or all there are; the same seed draws the same."""
    chance = random.Random(seed)  # noqa: S311  # nobody gains by guessing it
    kept: dict[int, tuple[int, Document]] = {}
    total = failed = held = readable = 0
    for document in documents:
        if isinstance(document, LeftOut):
            continue
        total += 1
        if document.failure is not None:
            failed += 1
            continue
        held += withheld(document) is not None
        # Each that comes takes the place of one that is kept with the chance that it should be among them.
        place = readable if readable < size else chance.randrange(readable + 1)
        if place < size:
            kept[place] = (readable, document)
        readable += 1
    drawn = [document for _, document in sorted(kept.values(), key=lambda each: each[0])]
    return Drawn(drawn, total, failed, held)
