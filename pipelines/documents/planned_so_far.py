"""How far a planning had come that was killed: behind which document of which file it goes on.

In: the parts of the plan that it committed. Out: the documents that are in none of them, of the same list of files.
Knows nothing of what is asked; of documents it takes that each is one item, in the order of the files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.documents.records import SourceFile
from pipelines.errors import JobError

Read = TypeVar("Read")


class PlannedSoFar:
    """The place behind the last document of the parts that it was shown."""

    def __init__(self) -> None:
        self.items = 0
        self._uri: str | None = None  # of the last document's file
        self._of_file = 0  # how many of its documents are planned

    def add(self, part: pa.Table) -> None:
        """Go on behind the next part, none of which is without items."""
        uris = part["document_uri"]
        last, uri = uris[-1], str(uris[-1].as_py())
        before = self._of_file if uri == self._uri else 0
        self._of_file = before + int(pc.equal(uris, last).to_numpy().sum())
        self._uri, self.items = uri, self.items + len(part)

    def rest(
        self, sources: list[SourceFile], read: Callable[[list[SourceFile]], Iterable[Read]], most: int | None
    ) -> Iterator[Read]:
        """What ``read`` gives of the files from here on; files before are not opened.

        Args:
            sources: all files of the input.
            read: gives the documents of some files.
            most: how many documents the plan may have in all; None: every one.

        Raises:
            JobError: the file of the last planned document is not among them.
        """
        if self._uri is None:
            return iter(read(sources))
        if self.items == most:
            return iter(())
        first = next((place for place, source in enumerate(sources) if source.uri == self._uri), None)
        if first is None:
            raise JobError(["input: it changed while it was being planned; start a new run with another --run-id"])
        end = None if most is None else self._of_file + most - self.items
        return itertools.islice(read(sources[first:]), self._of_file, end)
